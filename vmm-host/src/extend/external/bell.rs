// SPDX-License-Identifier: MIT OR Apache-2.0
//! What wakes the receiving thread.

use rustix::event::{eventfd, EventfdFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{read, write};

/// An eventfd that nobody waits at but in `poll`.
pub(super) struct Bell(OwnedFd);

impl Bell {
    pub(super) fn new() -> std::io::Result<Self> {
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        Ok(Self(eventfd(0, flags)?))
    }

    pub(super) fn ring(&self) {
        // It fails only where the counter is full, and then nobody sleeps.
        let _ = write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Makes it silent again.
    pub(super) fn silence(&self) {
        // It fails only where it is silent.
        let _ = read(&self.0, &mut [0; size_of::<u64>()]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
