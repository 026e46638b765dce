// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ends in the way that the command line says.
#![no_std]
#![no_main]

use hcall_guest::hcall0;
use hcall_guest::unikernel::{command_line, entry, exit, println};
use hcall_lab_contract::UNENTERABLE;

entry!(main);

/// Where no memory is, and no device.
const HOLE: u64 = 0xd000_0000;

fn main() {
    let line = command_line();
    println!("ending by '{line}'");
    match line {
        "exit" => exit(42),
        "panic" => panic!("this guest panics on purpose"),
        // SAFETY: #UD is what is wanted; the runtime reports it and does not return.
        "invalid-opcode" => unsafe { core::arch::asm!("ud2") },
        // SAFETY: no page is mapped there: #PF is what is wanted, as above.
        "page-fault" => unsafe { core::ptr::write_volatile((1u64 << 40) as *mut u8, 1) },
        // SAFETY: an empty descriptor table makes the next exception a triple fault, which
        // is what is wanted.
        "triple-fault" => unsafe {
            core::arch::asm!("push 0", "push 0", "lidt [rsp]", "ud2", options(noreturn))
        },
        // SAFETY: the address is mapped, and no memory is there: KVM ends the VM.
        "nowhere" => unsafe { core::arch::asm!("jmp {}", in(reg) HOLE, options(noreturn)) },
        "unenterable" => panic!("the guest is entered: {:?}", hcall0(UNENTERABLE)),
        "spin" => loop {
            core::hint::spin_loop();
        },
        "return" => {}
        other => panic!("no such end: {other}"),
    }
}
