// SPDX-License-Identifier: MIT OR Apache-2.0
//! The answers that a plugin owes.
//!
//! A plugin has a number for each, in the shape of a pointer: one that is used twice, is
//! another plugin's or was made up leads nowhere.

use crate::deferred::Deferred;
use hcall_abi::Errno;
use hcall_plugin::abi::RawDeferred;
use std::collections::BTreeMap;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The answers of one plugin by their numbers, of which null is none.
#[derive(Debug, Default)]
pub(super) struct Owed(Mutex<BTreeMap<usize, Deferred>>);

impl Owed {
    /// One more; what the plugin has for it.
    pub(super) fn add(&self, deferred: Deferred) -> *mut RawDeferred {
        // One sequence for all plugins of the process, too long to come round.
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, deferred);
        ptr::without_provenance_mut(number)
    }

    /// What a plugin answers.
    ///
    /// # Errors
    ///
    /// EINVAL if it has been answered, or never was owed.
    pub(super) fn take(&self, raw: *const RawDeferred) -> Result<Deferred, Errno> {
        self.lock().remove(&raw.addr()).ok_or(Errno::EINVAL)
    }

    /// Whether somebody waits for it.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub(super) fn is_awaited(&self, raw: *const RawDeferred) -> Result<bool, Errno> {
        let owed = self.lock();
        let deferred = owed.get(&raw.addr()).ok_or(Errno::EINVAL)?;
        Ok(deferred.is_awaited())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, Deferred>> {
        // Nothing that could panic is done under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
