// SPDX-License-Identifier: MIT OR Apache-2.0
//! A thread that answers calls later, so that no vCPU's thread does what takes long.

use hcall_plugin::{Deferred, Errno};
use std::sync::mpsc::{channel, Sender};
use std::thread::{self, JoinHandle};

/// Bytes, and the right to answer with their sum.
type Request = (Vec<u8>, Deferred);

/// The thread, which ends with this.
pub(crate) struct Worker {
    requests: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(crate) fn start() -> Result<Self, Errno> {
        let (requests, received) = channel::<Request>();
        let work = move || {
            for (bytes, later) in received {
                later.answer(Ok(bytes.iter().map(|byte| u64::from(*byte)).sum()));
            }
        };
        let thread = thread::Builder::new().spawn(work);
        Ok(Self {
            requests: Some(requests),
            thread: Some(thread.map_err(|_| Errno::EAGAIN)?),
        })
    }

    pub(crate) fn ask(&self, bytes: Vec<u8>, later: Deferred) -> Result<(), Errno> {
        let requests = self.requests.as_ref().ok_or(Errno::EIO)?;
        requests.send((bytes, later)).map_err(|_| Errno::EIO)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            // That it has panicked has been said.
            let _ = thread.join();
        }
    }
}
