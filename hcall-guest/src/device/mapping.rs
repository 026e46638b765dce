// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory of a ring, mapped into this process.

use rustix::mm::{mmap, munmap, MapFlags, ProtFlags};
use std::ffi::c_void;
use std::fs::File;
use std::ptr::{self, NonNull};

/// A mapping of the beginning of a file; unmapped when dropped.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<c_void>,
    length: usize,
}

// SAFETY: a mapping belongs to the process and to no thread; a shared reference to this
// value gives no access to it but by an address.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `length` bytes, readable and writable, shared with whoever else has them.
    pub(super) fn new(file: &File, length: usize) -> rustix::io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe { mmap(ptr::null_mut(), length, access, MapFlags::SHARED, file, 0)? };
        // The kernel never chooses address 0.
        let start = NonNull::new(start).ok_or(rustix::io::Errno::FAULT)?;
        Ok(Self { start, length })
    }

    /// Where it begins.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start.cast()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own; who has its address has promised to use
        // it no longer than the value lives. It can fail only for a wrong address.
        let _ = unsafe { munmap(self.start.as_ptr(), self.length) };
    }
}
