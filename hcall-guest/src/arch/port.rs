// SPDX-License-Identifier: MIT OR Apache-2.0
//! A write to an I/O port that is no hypercall: a doorbell.

use core::arch::asm;

/// Writes four bytes to `port`.
///
/// # Safety
///
/// At CPL 0 only, and what the device there does must be wanted.
#[inline]
pub(crate) unsafe fn write_port(port: u16, value: u32) {
    // SAFETY: the caller knows the device. Memory is not declared untouched: the host looks
    // at the ring because of this.
    unsafe {
        asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags));
    }
}
