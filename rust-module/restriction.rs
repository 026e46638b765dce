// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! What one open file may call. `RESTRICT` can only narrow it, while calls look it up on
//! all CPUs: under RCU, without a lock.

use crate::abi::allow_list::AllowList;
use core::ptr;
use kernel::bindings;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Atomic, Release};
use kernel::sync::{rcu, Mutex};

/// The restriction of an open file.
///
/// # Invariants
///
/// `current` is null or came from `KBox::into_raw`, and a list that was replaced is freed
/// only after a grace period. It is stored to under the lock only.
#[pin_data(PinnedDrop)]
pub(crate) struct Restriction {
    /// Null: no restriction.
    current: Atomic<*mut AllowList>,
    /// Held by whoever changes the restriction; counts what relies on it not to change.
    #[pin]
    holds: Mutex<u32>,
}

impl Restriction {
    /// What is allowed at first; `None`: everything.
    pub(crate) fn new(allowed: Option<&AllowList>) -> impl PinInit<Self, Error> + '_ {
        // INVARIANT: `current` is null or from `into_raw`.
        try_pin_init!(Self {
            current: Atomic::new(match allowed {
                None => ptr::null_mut(),
                Some(list) => KBox::into_raw(KBox::new(*list, GFP_KERNEL)?),
            }),
            holds <- new_mutex!(0),
        })
    }

    /// Whether the number is still allowed.
    #[inline]
    pub(crate) fn admits(&self, number: u32) -> bool {
        // The usual case, without RCU: a null pointer needs none. A call that begins after
        // `narrow` has returned sees what it stored.
        self.current.load(Acquire).is_null() || self.list_admits(number)
    }

    /// Out of line, so that calls through files without a list save no registers for it.
    #[inline(never)]
    fn list_admits(&self, number: u32) -> bool {
        self.read(|list| list.contains(number), true)
    }

    /// What is allowed, `None` if everything is.
    pub(crate) fn current(&self) -> Option<AllowList> {
        self.read(|list| Some(*list), None)
    }

    fn read<T>(&self, look: impl FnOnce(&AllowList) -> T, unrestricted: T) -> T {
        let _reading = rcu::read_lock();
        let list = self.current.load(Acquire);
        // SAFETY: by the type's invariant the list is valid, and not freed before
        // `_reading` is dropped, if it is not null.
        match unsafe { list.as_ref() } {
            Some(list) => look(list),
            None => unrestricted,
        }
    }

    /// Leaves `list` allowed. Calls that begin after this has returned see it.
    ///
    /// Fails with `EPERM` if part of it is not allowed now, with `EBUSY` if something relies
    /// on what is.
    pub(crate) fn narrow(&self, list: AllowList) -> Result {
        let next = KBox::new(list, GFP_KERNEL)?;
        let holds = self.holds.lock();
        if *holds != 0 {
            return Err(EBUSY);
        }
        let now = self.current().unwrap_or(AllowList::EVERYTHING);
        if !now.covers(&list) {
            return Err(EPERM);
        }
        let old = self.current.load(Acquire);
        // INVARIANT: from `into_raw`; the old one is freed below, after a grace period.
        self.current.store(KBox::into_raw(next), Release);
        drop(holds);
        if !old.is_null() {
            // SAFETY: a process's context, in which sleeping is allowed.
            unsafe { bindings::synchronize_rcu() };
            free(old);
        }
        Ok(())
    }

    /// What is allowed, which [`narrow`](Self::narrow) does not change before
    /// [`release`](Self::release) has been called as often as this.
    pub(crate) fn hold(&self) -> Option<AllowList> {
        let mut holds = self.holds.lock();
        *holds += 1;
        self.current()
    }

    /// Ends one [`hold`](Self::hold).
    pub(crate) fn release(&self) {
        let mut holds = self.holds.lock();
        *holds = holds.saturating_sub(1);
    }
}

#[pinned_drop]
impl PinnedDrop for Restriction {
    fn drop(self: Pin<&mut Self>) {
        // Nobody else has the file any more, so nobody reads.
        free(self.current.load(Acquire));
    }
}

/// Frees a list that no reader can find.
fn free(list: *mut AllowList) {
    if !list.is_null() {
        // SAFETY: by the invariant of `Restriction` the list came from `KBox::into_raw`; the
        // callers have made sure that it is nowhere else any more.
        drop(unsafe { KBox::from_raw(list) });
    }
}
