// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory of the process with chosen properties: fresh pages that can be made read-only
//! or inaccessible one by one.

use rustix::io::Result;
use rustix::mm::{mmap_anonymous, mprotect, munmap, MapFlags, MprotectFlags, ProtFlags};
use std::ffi::c_void;
use std::ptr;

/// The size of a page.
pub(crate) const PAGE: usize = 4096;

/// `MAP_32BIT` of x86: somewhere in the first 2 GiB.
const MAP_32BIT: u32 = 0x40;

/// Where the pages are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Anywhere,
    /// Where a 32-bit pointer reaches.
    Low,
}

/// Consecutive zeroed pages, unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Pages {
    start: *mut c_void,
    count: usize,
}

impl Pages {
    pub(crate) fn new(count: usize, place: Place) -> Result<Self> {
        let flags = match place {
            Place::Anywhere => MapFlags::PRIVATE,
            Place::Low => MapFlags::PRIVATE | MapFlags::from_bits_retain(MAP_32BIT),
        };
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), count * PAGE, access, flags)? };
        Ok(Self { start, count })
    }

    /// Changes what may be done with the page `index`. Nothing may refer to it.
    pub(crate) fn protect(&mut self, index: usize, access: MprotectFlags) -> Result<()> {
        assert!(index < self.count, "page {index} of {}", self.count);
        // SAFETY: the page is this mapping's own, and the borrow is exclusive.
        unsafe { mprotect(self.start.byte_add(index * PAGE), PAGE, access) }
    }

    /// Unmaps the page `index` for ever. Nothing may refer to it.
    pub(crate) fn unmap(&mut self, index: usize) -> Result<()> {
        assert!(index < self.count, "page {index} of {}", self.count);
        // SAFETY: the page is this mapping's own, and the borrow is exclusive. Dropping
        // unmaps the whole once more, which is no error where nothing is.
        unsafe { munmap(self.start.byte_add(index * PAGE), PAGE) }
    }

    /// Has a new zeroed page in the place of the page `index`, whatever was there. Only for
    /// pages that this program itself does not touch.
    pub(crate) fn replace(&self, index: usize) -> Result<()> {
        self.map_over(index, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// The same with a page that cannot be accessed.
    pub(crate) fn replace_by_nothing(&self, index: usize) -> Result<()> {
        self.map_over(index, ProtFlags::empty())
    }

    fn map_over(&self, index: usize, access: ProtFlags) -> Result<()> {
        assert!(index < self.count, "page {index} of {}", self.count);
        let page = self.start.wrapping_byte_add(index * PAGE);
        // SAFETY: the page is this mapping's own, and the caller touches it by the kernel
        // only, which is prepared for anything.
        unsafe { mmap_anonymous(page, PAGE, access, MapFlags::PRIVATE | MapFlags::FIXED).map(drop) }
    }

    /// The address of a byte, as a number; the byte need not be accessible.
    pub(crate) fn address(&self, offset: usize) -> usize {
        assert!(offset <= self.count * PAGE, "offset {offset}");
        self.start.expose_provenance() + offset
    }

    /// All bytes, which must be accessible.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is this value's own, initialized by the kernel, and the
        // borrow is exclusive. That nothing was made inaccessible is the caller's to see
        // to; otherwise the process ends, which is a failed test and no undefined access.
        unsafe { std::slice::from_raw_parts_mut(self.start.cast(), self.count * PAGE) }
    }
}

// SAFETY: the mapping belongs to no thread, and shared references give access to nothing but
// its addresses.
unsafe impl Sync for Pages {}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and it is the last to refer to it.
        // It can fail only for a wrong address, and then leaks the pages.
        let _ = unsafe { munmap(self.start, self.count * PAGE) };
    }
}
