// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The memory of a ring: written by the host, and by the process that has it mapped. The
//! kernel zeroes it, and later only compares two words of it.

use crate::buffer::hcall_virt_to_phys;
use core::ptr::NonNull;
use kernel::error::to_result;
use kernel::mm::virt::{flags, VmaNew};
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;

extern "C" {
    // In `ring_memory.c`.
    fn hcall_ring_alloc(bytes: usize) -> *mut c_void;
    fn hcall_ring_free(start: *mut c_void, bytes: usize);
    fn hcall_ring_map(area: *mut c_void, start: *mut c_void) -> c_int;
}

/// Physically contiguous whole pages; freed when dropped.
///
/// # Invariants
///
/// `start` and `bytes` are those of memory that `hcall_ring_alloc` returned.
pub(crate) struct RingMemory {
    start: NonNull<c_void>,
    bytes: usize,
}

// SAFETY: the memory belongs to no thread; it is accessed by the functions of C that are
// named here only, which map it, compare words of it, or free it at the end.
unsafe impl Send for RingMemory {}
// SAFETY: as above.
unsafe impl Sync for RingMemory {}

impl RingMemory {
    /// Zeroed pages for `bytes`.
    pub(crate) fn zeroed(bytes: u64) -> Result<Self> {
        let bytes = usize::try_from(bytes)?
            .checked_next_multiple_of(PAGE_SIZE)
            .ok_or(EINVAL)?;
        // SAFETY: any size may be asked for.
        let start = unsafe { hcall_ring_alloc(bytes) };
        // INVARIANT: as they were asked for and given.
        let start = NonNull::new(start).ok_or(ENOMEM)?;
        Ok(Self { start, bytes })
    }

    /// Length in bytes; whole pages.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The guest-physical address for the host.
    pub(crate) fn gpa(&self) -> u64 {
        // SAFETY: the page allocator's memory stands in the direct map.
        unsafe { hcall_virt_to_phys(self.start.as_ptr()) }
    }

    /// The address of the word at `offset`.
    pub(crate) fn word(&self, offset: u64) -> Result<*const u32> {
        let offset = usize::try_from(offset)?;
        if offset % align_of::<u32>() != 0 || offset + size_of::<u32>() > self.bytes {
            return Err(EINVAL);
        }
        Ok(self.start.as_ptr().wrapping_byte_add(offset).cast())
    }

    /// Maps the memory, all of it and nothing else, into the process that `vma` belongs to.
    ///
    /// Only as shared memory, and never to be executed. A child does not inherit the
    /// mapping and a core dump does not hold it; it cannot grow, and what would take hold
    /// of its pages beyond it (direct I/O, `vmsplice`) is refused. The mapping keeps the
    /// file open, and so the memory.
    pub(crate) fn map(&self, vma: &VmaNew) -> Result {
        // SAFETY: the area is being set up, and nobody else changes it meanwhile.
        let offset = unsafe { (*vma.as_ptr()).vm_pgoff };
        let shared = vma.flags() & flags::SHARED != 0;
        if offset != 0 || !shared || vma.end() - vma.start() != self.bytes {
            return Err(EINVAL);
        }
        vma.try_clear_mayexec().map_err(|_| EPERM)?;
        vma.set_io();
        vma.set_dontcopy();
        vma.set_dontdump();
        vma.set_dontexpand();
        vma.set_mixedmap();
        // SAFETY: the area may hold pages since `set_mixedmap`, and is as long as the
        // memory, each page of which has a reference count of its own.
        to_result(unsafe { hcall_ring_map(vma.as_ptr().cast(), self.start.as_ptr()) })
    }
}

impl Drop for RingMemory {
    fn drop(&mut self) {
        // SAFETY: by the invariant. Mappings hold the file and so this value; there are none.
        unsafe { hcall_ring_free(self.start.as_ptr(), self.bytes) };
    }
}
