// SPDX-License-Identifier: MIT OR Apache-2.0
//! Executes the trap instruction of the other vendor. #UD is due; the runtime reports it,
//! after the instruction's bytes have been read again.
//!
//! The host gets them by `PRINT(when, address, bytes)`: when 0 before the instruction is
//! executed, 1 in the handler of #UD.
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU64, Ordering};
use hcall_guest::abi::convention::TrapInstruction;
use hcall_guest::abi::cpuid::CpuidRegisters;
use hcall_guest::abi::number::PROBE;
use hcall_guest::hcall3;
use hcall_guest::unikernel::entry;
use hcall_lab_contract::PRINT;
use hcall_lab_guests::gate::{self, Reach};

entry!(main);

const INVALID_OPCODE: usize = 6;
const BEFORE: u64 = 0;
const AFTER: u64 = 1;

/// The runtime's own handler of #UD.
#[no_mangle]
static RUNTIME_HANDLER: AtomicU64 = AtomicU64::new(0);

// What the handler of #UD finds is the processor's frame: rip first. It is left as it
// was for the runtime's handler, whose report needs no other register.
global_asm!(
    r#"
    .text
    .balign 16
execute_vmmcall:
    vmmcall
    ret
    .balign 16
execute_vmcall:
    vmcall
    ret
handle_invalid_opcode:
    mov rdi, [rsp]
    mov rbx, rsp
    and rsp, -16
    call report_after
    mov rsp, rbx
    jmp [rip + RUNTIME_HANDLER]
    "#
);

extern "C" {
    fn execute_vmmcall();
    fn execute_vmcall();
    fn handle_invalid_opcode();
}

fn main() {
    let code = match TrapInstruction::for_vendor(vendor()) {
        Some(TrapInstruction::Vmmcall) => execute_vmcall as *const () as u64,
        Some(TrapInstruction::Vmcall) => execute_vmmcall as *const () as u64,
        None => panic!("neither VMMCALL nor VMCALL is known to be the processor's"),
    };
    // SAFETY: the handler keeps the processor's frame and ends in the runtime's.
    let handler = unsafe {
        let ours = handle_invalid_opcode as *const () as u64;
        gate::replace(INVALID_OPCODE, ours, Reach::Kernel)
    };
    RUNTIME_HANDLER.store(handler, Ordering::Relaxed);
    report(BEFORE, code);
    let result: u64;
    // SAFETY: #UD is what is wanted; a host that answers does what PROBE does, nothing.
    unsafe {
        asm!(
            "call {code}",
            code = in(reg) code,
            inlateout("rax") u64::from(PROBE.get()) => result,
            clobber_abi("C"),
        );
    }
    panic!("the other vendor's instruction was executed; rax is {result:#x}");
}

fn vendor() -> [u8; 12] {
    // `__cpuid` is unsafe at the minimum Rust version and safe in later ones.
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 processor has CPUID, and it touches no memory.
    let registers = unsafe { core::arch::x86_64::__cpuid(0) };
    CpuidRegisters {
        eax: registers.eax,
        ebx: registers.ebx,
        ecx: registers.ecx,
        edx: registers.edx,
    }
    .vendor()
}

/// Tells the host the three bytes at `address`.
fn report(when: u64, address: u64) {
    // SAFETY: three bytes of this guest's text, which is mapped; bytes need no alignment.
    let bytes = unsafe { (address as *const [u8; 3]).read_volatile() };
    let [first, second, third] = bytes;
    let bytes = u32::from_le_bytes([first, second, third, 0]);
    hcall3(PRINT, when, address, bytes.into()).expect("PRINT answers");
}

#[no_mangle]
extern "C" fn report_after(rip: u64) {
    report(AFTER, rip);
}
