// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The memory that `CALL_BUFFER` lends to the host: one zeroed page per call, so that
//! neither side sees anything but what the call put there.

use crate::abi::ioctl::BUFFER_MAX;
use kernel::bindings;
use kernel::prelude::*;
use kernel::uaccess::UserSlice;

const PAGE_BYTES: usize = BUFFER_MAX as usize;
const _: () = assert!(PAGE_BYTES == kernel::page::PAGE_SIZE);

extern "C" {
    /// In `physical.c`.
    fn hcall_virt_to_phys(address: *mut c_void) -> bindings::phys_addr_t;
}

/// The first `length` bytes of a zeroed page.
pub(crate) struct LentBuffer {
    page: KBox<[u8; PAGE_BYTES]>,
    length: usize,
}

impl LentBuffer {
    /// Fails with `EINVAL` if `length` is more than a page.
    pub(crate) fn zeroed(length: u32) -> Result<Self> {
        let length = length as usize;
        if length > PAGE_BYTES {
            return Err(EINVAL);
        }
        Ok(Self {
            page: KBox::zeroed(GFP_KERNEL)?,
            length,
        })
    }

    /// The guest-physical address for the host, which may write there during a call.
    pub(crate) fn gpa(&mut self) -> u64 {
        gpa_of(self.page.as_mut_ptr().cast())
    }

    /// Fills the buffer from the process.
    pub(crate) fn copy_in(&mut self, pointer: UserPtr) -> Result {
        let length = self.length;
        let bytes = self.page.get_mut(..length).ok_or(EINVAL)?;
        UserSlice::new(pointer, length).reader().read_slice(bytes)
    }

    /// Copies the buffer to the process.
    pub(crate) fn copy_out(&self, pointer: UserPtr) -> Result {
        let bytes = self.page.get(..self.length).ok_or(EINVAL)?;
        UserSlice::new(pointer, self.length)
            .writer()
            .write_slice(bytes)
    }
}

/// The guest-physical address of kmalloc's memory, which stands in the direct map, where
/// virtual and physical addresses are contiguous alike. Of another address it makes a number
/// without meaning.
pub(crate) fn gpa_of(memory: *mut c_void) -> u64 {
    // SAFETY: the function only calculates.
    unsafe { hcall_virt_to_phys(memory) }
}
