// SPDX-License-Identifier: MIT OR Apache-2.0
//! An ioctl as a 32-bit process makes it: by `int 0x80`, which a 64-bit process can
//! execute too, as long as its pointers have 32 bits.

use std::arch::asm;
use std::os::fd::{AsFd, AsRawFd};

/// `__NR_ioctl` of the 32-bit system calls.
const IOCTL: i32 = 54;

/// Whether the kernel was told not to take 32-bit system calls.
pub(crate) fn is_disabled() -> std::io::Result<bool> {
    let line = std::fs::read_to_string("/proc/cmdline")?;
    Ok(line.split_whitespace().any(|word| {
        matches!(
            word,
            "ia32_emulation=0" | "ia32_emulation=off" | "ia32_emulation=n"
        )
    }))
}

/// Makes the request; returns 0 or −errno.
///
/// # Safety
///
/// What the request makes the kernel write at `address` must be the caller's to have
/// overwritten. The kernel must take 32-bit system calls.
pub(crate) unsafe fn ioctl(file: impl AsFd, request: u32, address: u32) -> i32 {
    let result: i32;
    // SAFETY: the caller vouches for the kernel's writes; rbx, which LLVM reserves, is
    // restored, and r8 to r11 are given up as `entry_INT80_compat` may clear them.
    unsafe {
        asm!(
            "xchg {file}, rbx",
            "int 0x80",
            "xchg {file}, rbx",
            file = inout(reg) i64::from(file.as_fd().as_raw_fd()) => _,
            inlateout("eax") IOCTL => result,
            in("ecx") request,
            in("edx") address,
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
            options(nostack),
        );
    }
    result
}
