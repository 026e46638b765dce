// SPDX-License-Identifier: MIT OR Apache-2.0
//! A Multiboot image in a 32-bit ELF file, without any runtime: it says what it was given.
#![no_std]
#![no_main]

core::arch::global_asm!(
    include_str!("../../../guests/src/multiboot.s"),
    options(att_syntax)
);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
