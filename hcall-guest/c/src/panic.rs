// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rust wants a panic handler. Nothing in this library panics by intent; if a defect does,
//! the kernel gets an invalid-opcode exception, as from a defect of its own.

use core::arch::asm;
use core::panic::PanicInfo;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        // SAFETY: the instruction only raises #UD; a handler that returns comes back to it.
        unsafe { asm!("ud2", options(nomem, nostack)) };
    }
}
