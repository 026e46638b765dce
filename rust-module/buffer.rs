// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The memory that `CALL_BUFFER` lends to the host: whole pages of the call's own, so that
//! neither side sees anything but what the call put there.

use crate::abi::ioctl::BUFFER_MAX;
use kernel::alloc::flags::__GFP_NOWARN;
use kernel::alloc::Flags;
use kernel::bindings;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::uaccess::UserSlice;

extern "C" {
    /// In `physical.c`. The address must be in the direct map.
    pub(crate) fn hcall_virt_to_phys(address: *mut c_void) -> bindings::phys_addr_t;
}

/// That many pages in a row are not to be had is for the caller to know, not the kernel log.
fn flags() -> Flags {
    GFP_KERNEL | __GFP_NOWARN
}

/// So many bytes at the start of pages that hold nothing else; the rest of the last page is
/// zero. Kmalloc's, and so contiguous for the host too, and page-aligned, as the size is one
/// of whole pages.
pub(crate) struct LentBuffer {
    /// Whole pages; at least one, as `TIME` is told no length.
    pages: KVec<u8>,
    length: usize,
}

impl LentBuffer {
    /// Zeros. Fails with `EINVAL` if `length` is more than [`BUFFER_MAX`].
    pub(crate) fn zeroed(length: u32) -> Result<Self> {
        let (length, bytes) = sizes(length)?;
        Ok(Self {
            pages: KVec::from_elem(0, bytes, flags())?,
            length,
        })
    }

    /// What the process has at `pointer`. Fails as [`zeroed`](Self::zeroed), and with `EFAULT`.
    pub(crate) fn copied(pointer: UserPtr, length: u32) -> Result<Self> {
        let (length, bytes) = sizes(length)?;
        let mut pages = KVec::with_capacity(bytes, flags())?;
        UserSlice::new(pointer, length).read_all(&mut pages, flags())?;
        // The memory behind was somebody's before.
        pages.resize(bytes, 0, flags())?;
        Ok(Self { pages, length })
    }

    /// The guest-physical address for the host, which may write there during a call.
    pub(crate) fn gpa(&mut self) -> u64 {
        gpa_of(self.pages.as_mut_ptr().cast())
    }

    /// The bytes, as the kernel or the host left them.
    pub(crate) fn bytes_mut(&mut self) -> Result<&mut [u8]> {
        let length = self.length;
        self.pages.get_mut(..length).ok_or(EINVAL)
    }

    /// Copies the buffer to the process.
    pub(crate) fn copy_out(&self, pointer: UserPtr) -> Result {
        let bytes = self.pages.get(..self.length).ok_or(EINVAL)?;
        UserSlice::new(pointer, self.length)
            .writer()
            .write_slice(bytes)
    }
}

/// A buffer's length, and the bytes of its pages.
fn sizes(length: u32) -> Result<(usize, usize)> {
    if length > BUFFER_MAX {
        return Err(EINVAL);
    }
    let length = length as usize;
    Ok((length, length.max(1).next_multiple_of(PAGE_SIZE)))
}

/// The guest-physical address of kmalloc's memory, which stands in the direct map, where
/// virtual and physical addresses are contiguous alike. Of another address it makes a number
/// without meaning.
pub(crate) fn gpa_of(memory: *mut c_void) -> u64 {
    // SAFETY: the function only calculates.
    unsafe { hcall_virt_to_phys(memory) }
}
