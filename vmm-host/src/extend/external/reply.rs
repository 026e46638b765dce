// SPDX-License-Identifier: MIT OR Apache-2.0
//! How an answer gets to the thread that made the call.

use crate::deferred::Deferred;
use crate::hypercall::HypercallResult;
use hcall_abi::Errno;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Where an answer goes. Dropped without one, it is −EIO.
pub(super) enum Reply {
    /// To a vCPU whose thread does something else meanwhile.
    Deferred(Deferred),
    /// To a thread that waits.
    Waiting(Waited),
}

impl Reply {
    pub(super) fn send(self, result: HypercallResult) {
        match self {
            Self::Deferred(deferred) => deferred.answer(result),
            Self::Waiting(waited) => waited.0.put(result),
        }
    }
}

/// The answerer's end of a [`Waiter`].
pub(super) struct Waited(Arc<Slot>);

impl Drop for Waited {
    fn drop(&mut self) {
        self.0.put(Err(Errno::EIO));
    }
}

/// A thread that waits for an answer.
pub(super) struct Waiter(Arc<Slot>);

#[derive(Default)]
struct Slot {
    answer: Mutex<Option<HypercallResult>>,
    is_there: Condvar,
}

impl Slot {
    /// The first answer is the answer.
    fn put(&self, result: HypercallResult) {
        let mut answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        if answer.is_none() {
            *answer = Some(result);
            self.is_there.notify_one();
        }
    }
}

impl Waiter {
    pub(super) fn new() -> (Self, Reply) {
        let slot = Arc::<Slot>::default();
        let reply = Reply::Waiting(Waited(Arc::clone(&slot)));
        (Self(slot), reply)
    }

    /// Waits for the answer; whoever has the other end sees to it that one comes in time.
    pub(super) fn wait(self) -> HypercallResult {
        let mut answer = self.0.answer.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match *answer {
                Some(result) => return result,
                None => {
                    answer = self
                        .0
                        .is_there
                        .wait(answer)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}
