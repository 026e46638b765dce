// SPDX-License-Identifier: MIT OR Apache-2.0
//! What became of the requests: counted in memory that the processes share, so that those of
//! one that is killed are counted too.

use crate::failure::Failure;
use rustix::mm::{mmap_anonymous, MapFlags, ProtFlags};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

/// Larger than every errno that is due here.
const ERRNOS: usize = 256;

/// Requests by outcome, shared with every process forked from now on.
#[derive(Debug)]
pub(super) struct Tally(NonNull<[AtomicU64; ERRNOS]>);

// SAFETY: the memory is accessed by atomics only.
unsafe impl Send for Tally {}
// SAFETY: as above.
unsafe impl Sync for Tally {}

impl Tally {
    pub(super) fn new() -> Result<Self, Failure> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let bytes = ERRNOS * size_of::<AtomicU64>();
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, MapFlags::SHARED)? };
        NonNull::new(start.cast())
            .map(Self)
            .ok_or_else(|| Failure::new("a mapping at null"))
    }

    fn counts(&self) -> &[AtomicU64; ERRNOS] {
        // SAFETY: mapped for ever, page-aligned, zeroed by the kernel, and accessed by
        // atomics only.
        unsafe { self.0.as_ref() }
    }

    /// Counts a request that ended with this errno; 0 if it succeeded.
    pub(super) fn count(&self, errno: i32) {
        let place = usize::try_from(errno).unwrap_or(0).min(ERRNOS - 1);
        self.counts()[place].fetch_add(1, Ordering::Relaxed);
    }

    /// All of them.
    pub(super) fn total(&self) -> u64 {
        let counts = self.counts().iter();
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// How many ended with this errno.
    pub(super) fn of(&self, errno: i32) -> u64 {
        self.counts()[errno as usize].load(Ordering::Relaxed)
    }

    /// Those with each errno, for people.
    pub(super) fn describe(&self) -> String {
        let mut text = Vec::new();
        for (errno, count) in self.counts().iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                let name = match errno {
                    0 => "made".to_owned(),
                    _ => std::io::Error::from_raw_os_error(errno as i32).to_string(),
                };
                text.push(format!("{count} {name}"));
            }
        }
        text.join("; ")
    }
}
