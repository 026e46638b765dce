// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exceptions: an interrupt descriptor table whose every entry reports the exception
//! through the panic handler, so that a fault ends the VM with words, not in silence.

use super::vector;
use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;

/// The exceptions of the architecture: vectors 0 to 31 (SDM volume 3, 6.15).
const VECTORS: usize = 32;
/// Bytes from one stub to the next.
const STUB_SIZE: u64 = 16;

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
    pushq $0
    .endif
    pushq $vector
    jmp 1f
    .set vector, vector + 1
    .endr
1:  movq %rsp, %rdi
    andq $-16, %rsp
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

/// The stack as a stub leaves it.
#[repr(C)]
struct Frame {
    vector: u64,
    error_code: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// A 64-bit interrupt gate (SDM volume 3, 6.14.1).
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Gate {
    low: u64,
    high: u64,
}

impl Gate {
    const ABSENT: Self = Self { low: 0, high: 0 };

    /// A present interrupt gate of the code segment that `boot` set up.
    const fn to(handler: u64) -> Self {
        const CODE_SELECTOR: u64 = 8;
        const PRESENT_INTERRUPT_GATE: u64 = 0x8e00;
        Self {
            low: (handler & 0xffff)
                | (CODE_SELECTOR << 16)
                | (PRESENT_INTERRUPT_GATE << 32)
                | (((handler >> 16) & 0xffff) << 48),
            high: handler >> 32,
        }
    }
}

struct Table(UnsafeCell<[Gate; VECTORS]>);

// SAFETY: written once by `install`, before anything else runs; read by the processor.
unsafe impl Sync for Table {}

static TABLE: Table = Table(UnsafeCell::new([Gate::ABSENT; VECTORS]));

#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

/// Fills the table and makes it that of the processor that boots.
pub(super) fn install() {
    let table = TABLE.0.get();
    let stubs = &raw const hcall_exception_stubs as u64;
    for vector in 0..VECTORS {
        // SAFETY: called once, by the boot code, with no other reference to the table.
        unsafe { (*table)[vector] = Gate::to(stubs + vector as u64 * STUB_SIZE) };
    }
    load();
}

/// Makes the table, which [`install`] has filled, this processor's.
pub(super) fn load() {
    let pointer = TablePointer {
        limit: (size_of::<[Gate; VECTORS]>() - 1) as u16,
        base: TABLE.0.get() as u64,
    };
    // SAFETY: the table is static and filled, and its handlers never return.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack)) };
}

#[no_mangle]
extern "C" fn hcall_exception(frame: &Frame) -> ! {
    let fault_address: u64;
    // SAFETY: reading CR2 at CPL 0 changes nothing.
    unsafe { asm!("mov {}, cr2", out(reg) fault_address, options(nomem, nostack)) };
    panic!(
        "{} (vector {}, error code {:#x}) at rip {:#x}, cs {:#x}, rflags {:#x}, rsp {:#x}, ss {:#x}, cr2 {:#x}",
        vector::name(frame.vector),
        frame.vector,
        frame.error_code,
        frame.rip,
        frame.cs,
        frame.rflags,
        frame.rsp,
        frame.ss,
        fault_address,
    )
}
