// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests that the socket has not taken yet: there are some only where the handler does not
//! read, and never more than threads that make calls, and one that is half sent.

use rustix::io::Errno as SystemError;
use rustix::net::{send, SendFlags};
use std::collections::VecDeque;
use std::os::fd::AsFd;

/// Never waits, and a reader who has gone is an error, not a signal.
const FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

struct Outgoing {
    id: u64,
    frame: Vec<u8>,
    sent: usize,
}

/// See the module.
#[derive(Default)]
pub(super) struct Queue(VecDeque<Outgoing>);

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts the request of call `id` behind the others.
    pub(super) fn push(&mut self, id: u64, frame: Vec<u8>) {
        self.0.push_back(Outgoing { id, frame, sent: 0 });
    }

    /// Takes the request of call `id` out again, if none of it has been sent; says whether it
    /// was so.
    pub(super) fn withdraw(&mut self, id: u64) -> bool {
        let unsent = |outgoing: &Outgoing| outgoing.id == id && outgoing.sent == 0;
        match self.0.iter().position(unsent) {
            Some(place) => self.0.remove(place).is_some(),
            None => false,
        }
    }

    /// Sends as much as the socket takes.
    pub(super) fn flush(&mut self, socket: impl AsFd) -> Result<(), SystemError> {
        while let Some(first) = self.0.front_mut() {
            match send(&socket, &first.frame[first.sent..], FLAGS) {
                Ok(sent) => first.sent += sent,
                Err(SystemError::AGAIN) => return Ok(()),
                Err(SystemError::INTR) => {}
                Err(error) => return Err(error),
            }
            if first.sent == first.frame.len() {
                self.0.pop_front();
            }
        }
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
