// SPDX-License-Identifier: MIT OR Apache-2.0
//! Executes the trap instruction of the other vendor, at the CPL of the command line, 0 or
//! 3. An exception is due; the runtime reports it, after the instruction's bytes have been
//! read again.
//!
//! The host gets them by `PRINT(when, address, bytes)`: when 0 before the instruction is
//! executed, 1 in the handler of the exception, which is #UD or #GP.
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU64, Ordering};
use hcall_guest::abi::convention::TrapInstruction;
use hcall_guest::abi::cpuid::CpuidRegisters;
use hcall_guest::abi::number::PROBE;
use hcall_guest::hcall3;
use hcall_guest::unikernel::{command_line, entry};
use hcall_lab_contract::PRINT;
use hcall_lab_guests::descend::{self, Descent, Registers};
use hcall_lab_guests::gate::{self, Reach};

entry!(main);

const INVALID_OPCODE: usize = 6;
const GENERAL_PROTECTION: usize = 13;
const BEFORE: u64 = 0;
const AFTER: u64 = 1;

/// The runtime's own handlers of #UD and of #GP.
#[no_mangle]
static RUNTIME_INVALID_OPCODE: AtomicU64 = AtomicU64::new(0);
#[no_mangle]
static RUNTIME_GENERAL_PROTECTION: AtomicU64 = AtomicU64::new(0);

// What the handlers find is the processor's frame: rip first, after the error code if
// there is one. It is left as it was for the runtime's handler, whose report needs no
// other register.
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
    jmp [rip + RUNTIME_INVALID_OPCODE]
handle_general_protection:
    mov rdi, [rsp + 8]
    mov rbx, rsp
    and rsp, -16
    call report_after
    mov rsp, rbx
    jmp [rip + RUNTIME_GENERAL_PROTECTION]
    "#
);

extern "C" {
    fn execute_vmmcall();
    fn execute_vmcall();
    fn handle_invalid_opcode();
    fn handle_general_protection();
}

fn main() {
    let native = TrapInstruction::for_vendor(vendor())
        .expect("VMMCALL or VMCALL is known to be the processor's");
    match command_line() {
        "0" => execute(native),
        "3" => execute_at_cpl_3(native),
        other => panic!("no such CPL: {other}"),
    }
}

fn execute(native: TrapInstruction) {
    let code = match native {
        TrapInstruction::Vmmcall => execute_vmcall as *const () as u64,
        TrapInstruction::Vmcall => execute_vmmcall as *const () as u64,
    };
    watch();
    report(BEFORE, code);
    let result: u64;
    // SAFETY: an exception is what is wanted; a host that answers does what PROBE does,
    // nothing.
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

fn execute_at_cpl_3(native: TrapInstruction) {
    let code = match native {
        TrapInstruction::Vmmcall => descend::VMCALL,
        TrapInstruction::Vmcall => descend::VMMCALL,
    };
    let descent = Descent::prepare();
    watch();
    report(BEFORE, code as *const () as u64);
    let registers = Registers([PROBE.get().into(), 0, 0, 0, 0, 0, 0, 0]);
    let back = descent.run(code, &registers, descend::flags(0));
    panic!("the other vendor's instruction was executed: {back:x?}");
}

/// Has the exceptions reported to the host before the runtime gets them.
fn watch() {
    // SAFETY: the handlers keep the processor's frame and end in the runtime's.
    let [invalid_opcode, general_protection] = unsafe {
        [
            (INVALID_OPCODE, handle_invalid_opcode as *const () as u64),
            (
                GENERAL_PROTECTION,
                handle_general_protection as *const () as u64,
            ),
        ]
        .map(|(vector, handler)| gate::replace(vector, handler, Reach::Kernel))
    };
    RUNTIME_INVALID_OPCODE.store(invalid_opcode, Ordering::Relaxed);
    RUNTIME_GENERAL_PROTECTION.store(general_protection, Ordering::Relaxed);
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
