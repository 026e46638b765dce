// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages of the host's process to be touched between two KVM_RUN, so that what a page costs
//! there is measured by itself.

use std::hint::black_box;
use std::io::Error;
use std::ptr::{null_mut, NonNull};

/// How many pages are touched.
pub(super) const COUNT: usize = 16;
const PAGE_SIZE: usize = 4096;
const SIZE: usize = COUNT * PAGE_SIZE;

/// `ret`.
const RET: u8 = 0xc3;

/// Neighbouring pages that begin with a function that does nothing.
pub(super) struct Pages(NonNull<u8>);

impl Pages {
    pub(super) fn new() -> Result<Self, String> {
        let failed = |what| format!("{what}: {}", Error::last_os_error());
        // SAFETY: a new mapping, of nothing that exists.
        let start = unsafe {
            libc::mmap(
                null_mut(),
                SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(failed("mmap"));
        }
        let pages = Self(NonNull::new(start.cast()).ok_or("mmap gave no address")?);
        for page in pages.each() {
            // SAFETY: the page is mapped, writable, and nobody else's.
            unsafe { page.write(RET) };
        }
        // SAFETY: the whole of the mapping, to which there are no references.
        if unsafe { libc::mprotect(start, SIZE, libc::PROT_READ | libc::PROT_EXEC) } != 0 {
            return Err(failed("mprotect"));
        }
        Ok(pages)
    }

    fn each(&self) -> impl Iterator<Item = NonNull<u8>> {
        let start = self.0;
        // SAFETY: within the mapping.
        (0..COUNT).map(move |page| unsafe { start.add(page * PAGE_SIZE) })
    }

    /// Reads a byte of each.
    #[inline]
    pub(super) fn read(&self) {
        for page in self.each() {
            // SAFETY: the page is mapped, readable, and written by nobody.
            black_box(unsafe { page.read_volatile() });
        }
    }

    /// Calls the function in each.
    #[inline]
    pub(super) fn call(&self) {
        for page in self.each() {
            // SAFETY: the page is executable and begins with `ret`, which is a function of
            // this type.
            let function: extern "C" fn() = unsafe { std::mem::transmute(page) };
            function();
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, which nobody uses any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), SIZE) };
    }
}
