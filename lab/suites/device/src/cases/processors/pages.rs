// SPDX-License-Identifier: MIT OR Apache-2.0
//! Address translation on several processors: what one maps is what all see from then on.

use super::{on_each, pin};
use crate::failure::{Check, Failure};
use crate::memory::PAGE;
use rustix::fs::{memfd_create, MemfdFlags};
use rustix::io::Result;
use rustix::mm::{mmap, munmap, MapFlags, ProtFlags};
use std::ffi::c_void;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// How often the page is replaced.
const ROUNDS: u64 = 20;

/// While threads on all processors read a page, another replaces it again and again: none
/// of them may read an old page after that is done.
pub(super) fn replaced_for_all(count: usize) -> Check {
    let window = Window::new(ROUNDS + 1)?;
    let shown = AtomicU64::new(0);
    let ended = AtomicBool::new(false);
    let seen: Vec<AtomicU64> = (0..count).map(|_| AtomicU64::new(0)).collect();
    let read = |processor: usize| {
        while shown.load(Ordering::Acquire) < ROUNDS && !ended.load(Ordering::Relaxed) {
            let due = shown.load(Ordering::Acquire);
            let found = window.read();
            if found < due {
                return Err(Failure::new(format!(
                    "processor {processor} read page {found} after page {due} was mapped"
                )));
            }
            seen[processor].store(due, Ordering::Release);
        }
        Ok(())
    };
    let replace = || {
        pin(0)?;
        for round in 1..=ROUNDS {
            window.show(round)?;
            shown.store(round, Ordering::Release);
            let all = || {
                seen.iter()
                    .all(|seen| seen.load(Ordering::Acquire) >= round)
            };
            // The readers end after the last round.
            while round < ROUNDS && !all() && !ended.load(Ordering::Relaxed) {
                thread::yield_now();
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let replaced = scope.spawn(replace);
        let read = on_each(count, |processor| {
            let outcome = read(processor);
            if outcome.is_err() {
                ended.store(true, Ordering::Relaxed);
            }
            outcome
        });
        // Without readers nobody would be waited for for ever.
        ended.store(true, Ordering::Relaxed);
        let replaced = replaced
            .join()
            .unwrap_or_else(|_| Err(Failure::new("a thread panicked")));
        read.and(replaced)
    })
}

/// A page of address space through which one page of a file is seen at a time. Each page
/// of the file begins with its number.
struct Window {
    start: *mut c_void,
    file: File,
    pages: u64,
}

// SAFETY: the address is that of a mapping which lives as long as the value; threads only
// read through it, and replacing what is mapped there is atomic for them.
unsafe impl Sync for Window {}

impl Window {
    fn new(pages: u64) -> std::result::Result<Self, Failure> {
        let file = File::from(memfd_create("window", MemfdFlags::CLOEXEC)?);
        file.set_len(pages * PAGE as u64)?;
        for page in 0..pages {
            file.write_all_at(&page.to_ne_bytes(), page * PAGE as u64)?;
        }
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                PAGE,
                ProtFlags::READ,
                MapFlags::SHARED,
                &file,
                0,
            )?
        };
        Ok(Self { start, file, pages })
    }

    /// Maps page `page` of the file in place of the one before.
    fn show(&self, page: u64) -> Result<()> {
        assert!(page < self.pages, "page {page} of {}", self.pages);
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        let offset = page * PAGE as u64;
        // SAFETY: the address is this value's own mapping of the same size, to which no
        // reference exists.
        unsafe { mmap(self.start, PAGE, ProtFlags::READ, flags, &self.file, offset)? };
        Ok(())
    }

    /// The number of the page that is seen.
    fn read(&self) -> u64 {
        // SAFETY: the page is mapped, aligned and initialized; what changes is which page
        // it is, so that the read is volatile.
        unsafe { self.start.cast::<u64>().read_volatile() }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and it is the last to refer to it.
        // It can fail only for a wrong address, and then leaks the page.
        let _ = unsafe { munmap(self.start, PAGE) };
    }
}
