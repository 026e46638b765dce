// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the thread of a ring shares with whoever wakes, pauses or ends it.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use vmm_sys_util::eventfd::EventFd;

/// What the thread is to do.
const SERVE: u8 = 0;
const PAUSE: u8 = 1;
const STOP: u8 = 2;

/// What the thread does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Serve,
    End,
}

/// The doorbell, and what is asked of the thread besides.
#[derive(Debug)]
pub(super) struct Bell {
    pub(super) event: EventFd,
    /// Looked at before each burst.
    wanted: AtomicU8,
    /// Whether the thread waits for the end of a pause, or has ended.
    is_parked: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            event: EventFd::new(0)?,
            wanted: AtomicU8::new(SERVE),
            is_parked: Mutex::new(false),
            changed: Condvar::new(),
        })
    }

    /// Has the thread end, paused or not.
    pub(super) fn stop(&self) {
        self.wanted.store(STOP, Ordering::Release);
        self.rouse();
    }

    /// Has the thread pause, unless it ends.
    pub(super) fn pause(&self) {
        self.change(SERVE, PAUSE);
    }

    /// Has the thread go on, if it pauses.
    pub(super) fn resume(&self) {
        self.change(PAUSE, SERVE);
    }

    /// Waits until a thread that is to pause does; whether it did within `limit`.
    pub(super) fn wait_until_parked(&self, limit: Duration) -> bool {
        let parked = self.is_parked();
        let waited = self
            .changed
            .wait_timeout_while(parked, limit, |is_parked| !*is_parked);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Before the thread takes entries: waits while it is to pause.
    #[inline]
    pub(super) fn attend(&self) -> Turn {
        match self.wanted.load(Ordering::Acquire) {
            SERVE => Turn::Serve,
            _ => self.attend_slowly(),
        }
    }

    #[cold]
    fn attend_slowly(&self) -> Turn {
        let mut is_parked = self.is_parked();
        loop {
            let wanted = self.wanted.load(Ordering::Acquire);
            *is_parked = wanted != SERVE;
            self.changed.notify_all();
            match wanted {
                SERVE => return Turn::Serve,
                STOP => return Turn::End,
                _ => {
                    let woken = self.changed.wait(is_parked);
                    is_parked = woken.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Whether something other than to serve is asked.
    pub(super) fn is_raised(&self) -> bool {
        self.wanted.load(Ordering::Acquire) != SERVE
    }

    /// Says that the thread has ended, for which nobody need wait.
    pub(super) fn leave(&self) {
        *self.is_parked() = true;
        self.changed.notify_all();
    }

    /// Sleeps until the guest rings or something is asked.
    pub(super) fn wait(&self) {
        while let Err(error) = self.event.read() {
            if error.kind() != ErrorKind::Interrupted {
                // A descriptor of our own: nothing else can happen to it.
                tracing::error!(%error, "cannot wait for a doorbell");
                return;
            }
        }
    }

    fn change(&self, from: u8, to: u8) {
        let changed = self
            .wanted
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        if changed.is_ok() {
            self.rouse();
        }
    }

    /// Has the thread look at what is wanted, wherever it sleeps.
    fn rouse(&self) {
        // It fails only where the counter is full, and then the thread does not sleep.
        let _ = self.event.write(1);
        // Under the lock: between its look and its wait the thread holds it.
        drop(self.is_parked());
        self.changed.notify_all();
    }

    fn is_parked(&self) -> MutexGuard<'_, bool> {
        self.is_parked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
