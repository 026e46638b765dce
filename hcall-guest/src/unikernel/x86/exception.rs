// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exceptions in 32-bit protected mode: every entry of the interrupt descriptor table
//! reports through the panic handler, as in 64-bit mode.

use crate::unikernel::vector;
use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;

/// The exceptions of the architecture: vectors 0 to 31 (SDM volume 3, 6.15).
const VECTORS: usize = 32;
/// Bytes from one stub to the next.
const STUB_SIZE: u32 = 16;

// One stub a vector: the processor pushes an error code for some of them (mask below),
// the stub pushes 0 for the others, then the vector.
global_asm!(
    r#"
    .section .text.hcall_exception, "ax"
    .balign 16
    .global hcall_exception_stubs
hcall_exception_stubs:
    .set vector, 0
    .rept 32
    .balign 16
    .if ((0x60227d00 >> vector) & 1) == 0
    pushl $0
    .endif
    pushl $vector
    jmp 1f
    .set vector, vector + 1
    .endr
1:  movl %esp, %eax
    andl $-16, %esp
    subl $12, %esp
    pushl %eax
    cld
    call hcall_exception
    ud2
    "#,
    options(att_syntax)
);

extern "C" {
    /// The first stub; the address is all that is used.
    static hcall_exception_stubs: u8;
}

/// The stack as a stub leaves it; no exception comes from another privilege level.
#[repr(C)]
struct Frame {
    vector: u32,
    error_code: u32,
    eip: u32,
    cs: u32,
    eflags: u32,
}

/// A present 32-bit interrupt gate of the code segment that `boot` set up (SDM volume 3,
/// 6.11).
const fn gate(handler: u32) -> u64 {
    const CODE_SELECTOR: u64 = 8;
    const PRESENT_INTERRUPT_GATE: u64 = 0x8e00;
    let handler = handler as u64;
    (handler & 0xffff)
        | (CODE_SELECTOR << 16)
        | (PRESENT_INTERRUPT_GATE << 32)
        | ((handler >> 16) << 48)
}

#[repr(C, align(8))]
struct Table(UnsafeCell<[u64; VECTORS]>);

// SAFETY: written once by `install`, before anything else runs; read by the processor.
unsafe impl Sync for Table {}

static TABLE: Table = Table(UnsafeCell::new([0; VECTORS]));

#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u32,
}

/// Fills the table and makes it the processor's.
pub(super) fn install() {
    let table = TABLE.0.get();
    let stubs = &raw const hcall_exception_stubs as u32;
    for vector in 0..VECTORS {
        // SAFETY: called once, by the boot code, with no other reference to the table.
        unsafe { (*table)[vector] = gate(stubs + vector as u32 * STUB_SIZE) };
    }
    let pointer = TablePointer {
        limit: (size_of::<[u64; VECTORS]>() - 1) as u16,
        base: table as u32,
    };
    // SAFETY: the table is static and filled, and its handlers never return.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack)) };
}

#[no_mangle]
extern "C" fn hcall_exception(frame: &Frame) -> ! {
    let fault_address: u32;
    // SAFETY: reading CR2 at CPL 0 changes nothing.
    unsafe { asm!("mov {}, cr2", out(reg) fault_address, options(nomem, nostack)) };
    panic!(
        "{} (vector {}, error code {:#x}) at eip {:#x}, cs {:#x}, eflags {:#x}, cr2 {:#x}",
        vector::name(frame.vector.into()),
        frame.vector,
        frame.error_code,
        frame.eip,
        frame.cs,
        frame.eflags,
        fault_address,
    )
}
