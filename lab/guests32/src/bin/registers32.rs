// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fills every general register and the flags of 32-bit protected mode with known values,
//! traps, and checks that nothing but eax has changed. Command line: how often.
#![no_std]
#![no_main]

use core::arch::global_asm;
use core::cell::UnsafeCell;
use hcall_guest::unikernel::{command_line, entry, println};
use hcall_guest::Trap;
use hcall_lab_contract::{mix_32, ArgumentSequence, MIX_32};

entry!(main);

/// eax, ebx, ecx, edx, esi, edi, ebp, esp, eflags: the order of the assembly.
const COUNT: usize = 9;
const NAMES: [&str; COUNT] = [
    "eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp", "eflags",
];
const EAX: usize = 0;
const ESP: usize = 7;
const EFLAGS: usize = 8;

/// CF, PF, AF, ZF, SF, DF, OF; interrupts stay off.
const STATUS_FLAGS: u32 = 0xcd5;
/// Bit 1 of eflags, which is always set.
const FLAGS_FIXED: u32 = 2;

#[repr(C)]
struct Registers(UnsafeCell<[u32; COUNT]>);

// SAFETY: this unikernel has one vCPU and handles no interrupts.
unsafe impl Sync for Registers {}

#[no_mangle]
static REGISTERS_BEFORE: Registers = Registers(UnsafeCell::new([0; COUNT]));
#[no_mangle]
static REGISTERS_AFTER: Registers = Registers(UnsafeCell::new([0; COUNT]));

global_asm!(
    r#"
    .macro sweep name, trap:vararg
    .global \name
\name:
    push ebx
    push ebp
    push esi
    push edi
    mov dword ptr [REGISTERS_BEFORE + 4 * 7], esp
    push dword ptr [REGISTERS_BEFORE + 4 * 8]
    popfd
    mov eax, dword ptr [REGISTERS_BEFORE + 4 * 0]
    mov ebx, dword ptr [REGISTERS_BEFORE + 4 * 1]
    mov ecx, dword ptr [REGISTERS_BEFORE + 4 * 2]
    mov edx, dword ptr [REGISTERS_BEFORE + 4 * 3]
    mov esi, dword ptr [REGISTERS_BEFORE + 4 * 4]
    mov edi, dword ptr [REGISTERS_BEFORE + 4 * 5]
    mov ebp, dword ptr [REGISTERS_BEFORE + 4 * 6]
    \trap
    mov dword ptr [REGISTERS_AFTER + 4 * 0], eax
    mov dword ptr [REGISTERS_AFTER + 4 * 1], ebx
    mov dword ptr [REGISTERS_AFTER + 4 * 2], ecx
    mov dword ptr [REGISTERS_AFTER + 4 * 3], edx
    mov dword ptr [REGISTERS_AFTER + 4 * 4], esi
    mov dword ptr [REGISTERS_AFTER + 4 * 5], edi
    mov dword ptr [REGISTERS_AFTER + 4 * 6], ebp
    mov dword ptr [REGISTERS_AFTER + 4 * 7], esp
    pushfd
    pop dword ptr [REGISTERS_AFTER + 4 * 8]
    cld
    pop edi
    pop esi
    pop ebp
    pop ebx
    ret
    .endm

    .text
    sweep sweep_vmmcall, vmmcall
    sweep sweep_vmcall, vmcall
    sweep sweep_port, out {port}, eax
    "#,
    port = const hcall_guest::abi::transport::PORT,
);

extern "C" {
    fn sweep_vmmcall();
    fn sweep_vmcall();
    fn sweep_port();
}

fn main() {
    let rounds: u64 = command_line().trim().parse().expect("a number");
    let host = hcall_guest::host().expect("an hcall host");
    for (arity, number) in MIX_32.into_iter().enumerate() {
        let mut sequence = ArgumentSequence::new(arity as u64);
        for round in 0..rounds {
            let arguments = sequence.next_arguments_32(arity);
            let flags = if round % 2 == 0 { STATUS_FLAGS } else { 0 } | FLAGS_FIXED;
            sweep(host.trap, number.get(), arity as u64, arguments, flags);
        }
    }
    println!("registers kept over {:?}", host.trap);
}

fn sweep(trap: Trap, number: u32, arity: u64, arguments: [u64; 4], flags: u32) {
    let mut before: [u32; COUNT] =
        core::array::from_fn(|index| 0x0101_0101_u32.wrapping_mul(index as u32 + 3));
    before[EAX] = number;
    for (register, argument) in before[EAX + 1..].iter_mut().zip(arguments) {
        *register = argument as u32;
    }
    before[EFLAGS] = flags;
    // SAFETY: the only vCPU, and the assembly below is not running.
    unsafe { *REGISTERS_BEFORE.0.get() = before };
    // SAFETY: the host offered this trap; the routines keep what their ABI says they keep,
    // and the call only computes.
    unsafe {
        match trap {
            Trap::Vmmcall => sweep_vmmcall(),
            Trap::Vmcall => sweep_vmcall(),
            Trap::Port => sweep_port(),
            other => panic!("{other:?} was chosen in 32-bit mode"),
        }
    }
    // SAFETY: as above.
    let (before, after) = unsafe { (*REGISTERS_BEFORE.0.get(), *REGISTERS_AFTER.0.get()) };
    assert_eq!(
        u64::from(after[EAX]),
        mix_32(arity, arguments),
        "result of arity {arity}"
    );
    assert_ne!(before[ESP], 0);
    for index in (0..COUNT).filter(|index| *index != EAX) {
        assert_eq!(
            after[index], before[index],
            "{} after {trap:?} with arity {arity}",
            NAMES[index]
        );
    }
}
