// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fills every general register and the flags with known values, traps, and checks that
//! nothing but rax has changed.
#![no_std]
#![no_main]

use core::arch::global_asm;
use core::cell::UnsafeCell;
use hcall_guest::abi::carrier::CarrierRegisters;
use hcall_guest::abi::Transport;
use hcall_guest::unikernel::{command_line, entry, println};
use hcall_guest::Trap;
use hcall_lab_contract::{mix, ArgumentSequence, MIX};

entry!(main);

/// rax, rbx, rcx, rdx, rsi, rdi, rbp, r8 … r15, rsp, rflags: the order of the assembly.
const COUNT: usize = 17;
const NAMES: [&str; COUNT] = [
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15", "rsp", "rflags",
];
const RAX: usize = 0;
/// Where the arguments stand: rbx, rcx, rdx, rsi, and in the carrier rsi, rdi, r8, r9.
const ARGUMENTS: [usize; 4] = [1, 2, 3, 4];
const CARRIED_ARGUMENTS: [usize; 4] = [4, 5, 7, 8];
const RSP: usize = 15;
const RFLAGS: usize = 16;

/// CF, PF, AF, ZF, SF, DF, OF; interrupts stay off.
const STATUS_FLAGS: u64 = 0xcd5;
/// Bit 1 of rflags, which is always set.
const FLAGS_FIXED: u64 = 2;

#[repr(C)]
struct Registers(UnsafeCell<[u64; COUNT]>);

// SAFETY: this unikernel has one vCPU and handles no interrupts.
unsafe impl Sync for Registers {}

#[no_mangle]
static REGISTERS_BEFORE: Registers = Registers(UnsafeCell::new([0; COUNT]));
#[no_mangle]
static REGISTERS_AFTER: Registers = Registers(UnsafeCell::new([0; COUNT]));

// Statics are addressed relative to rip, so that no register is needed for it.
global_asm!(
    r#"
    .macro sweep name, trap:vararg
    .global \name
\name:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov [rip + REGISTERS_BEFORE + 8 * 15], rsp
    push qword ptr [rip + REGISTERS_BEFORE + 8 * 16]
    popfq
    mov rax, [rip + REGISTERS_BEFORE + 8 * 0]
    mov rbx, [rip + REGISTERS_BEFORE + 8 * 1]
    mov rcx, [rip + REGISTERS_BEFORE + 8 * 2]
    mov rdx, [rip + REGISTERS_BEFORE + 8 * 3]
    mov rsi, [rip + REGISTERS_BEFORE + 8 * 4]
    mov rdi, [rip + REGISTERS_BEFORE + 8 * 5]
    mov rbp, [rip + REGISTERS_BEFORE + 8 * 6]
    mov r8, [rip + REGISTERS_BEFORE + 8 * 7]
    mov r9, [rip + REGISTERS_BEFORE + 8 * 8]
    mov r10, [rip + REGISTERS_BEFORE + 8 * 9]
    mov r11, [rip + REGISTERS_BEFORE + 8 * 10]
    mov r12, [rip + REGISTERS_BEFORE + 8 * 11]
    mov r13, [rip + REGISTERS_BEFORE + 8 * 12]
    mov r14, [rip + REGISTERS_BEFORE + 8 * 13]
    mov r15, [rip + REGISTERS_BEFORE + 8 * 14]
    \trap
    mov [rip + REGISTERS_AFTER + 8 * 0], rax
    mov [rip + REGISTERS_AFTER + 8 * 1], rbx
    mov [rip + REGISTERS_AFTER + 8 * 2], rcx
    mov [rip + REGISTERS_AFTER + 8 * 3], rdx
    mov [rip + REGISTERS_AFTER + 8 * 4], rsi
    mov [rip + REGISTERS_AFTER + 8 * 5], rdi
    mov [rip + REGISTERS_AFTER + 8 * 6], rbp
    mov [rip + REGISTERS_AFTER + 8 * 7], r8
    mov [rip + REGISTERS_AFTER + 8 * 8], r9
    mov [rip + REGISTERS_AFTER + 8 * 9], r10
    mov [rip + REGISTERS_AFTER + 8 * 10], r11
    mov [rip + REGISTERS_AFTER + 8 * 11], r12
    mov [rip + REGISTERS_AFTER + 8 * 12], r13
    mov [rip + REGISTERS_AFTER + 8 * 13], r14
    mov [rip + REGISTERS_AFTER + 8 * 14], r15
    mov [rip + REGISTERS_AFTER + 8 * 15], rsp
    pushfq
    pop qword ptr [rip + REGISTERS_AFTER + 8 * 16]
    cld
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
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
    let rounds: u64 = command_line().trim().parse().unwrap_or(1);
    let host = hcall_guest::host().expect("an hcall host");
    for (arity, number) in MIX.into_iter().enumerate() {
        let mut sequence = ArgumentSequence::new(arity as u64);
        for round in 0..rounds {
            let arguments = sequence.next_arguments(arity);
            let flags = if round % 2 == 0 { STATUS_FLAGS } else { 0 } | FLAGS_FIXED;
            sweep(host.trap, number.get(), arity as u64, arguments, flags);
        }
    }
    println!("registers kept over {:?}", host.trap);
}

fn sweep(trap: Trap, number: u32, arity: u64, arguments: [u64; 4], flags: u64) {
    let mut before: [u64; COUNT] =
        core::array::from_fn(|index| 0x0101_0101_0101_0101u64.wrapping_mul(index as u64 + 3));
    put_call(&mut before, trap.transport(), number, arguments);
    before[RFLAGS] = flags;
    // SAFETY: the only vCPU, and the assembly below is not running.
    unsafe { *REGISTERS_BEFORE.0.get() = before };
    // SAFETY: the host offered this trap; the routines keep what their ABI says they keep,
    // and the call only computes.
    unsafe {
        match trap {
            Trap::Vmmcall | Trap::CarrierVmmcall => sweep_vmmcall(),
            Trap::Vmcall | Trap::CarrierVmcall => sweep_vmcall(),
            Trap::Port => sweep_port(),
        }
    }
    // SAFETY: as above.
    let (before, after) = unsafe { (*REGISTERS_BEFORE.0.get(), *REGISTERS_AFTER.0.get()) };
    assert_eq!(after[RAX], mix(arity, arguments), "result of arity {arity}");
    assert_ne!(before[RSP], 0);
    for index in (0..COUNT).filter(|index| *index != RAX) {
        assert_eq!(
            after[index], before[index],
            "{} after {trap:?} with arity {arity}",
            NAMES[index]
        );
    }
}

/// Sets the registers that make the call.
fn put_call(registers: &mut [u64; COUNT], transport: Transport, number: u32, arguments: [u64; 4]) {
    let places = if transport == Transport::Carrier {
        let CarrierRegisters { rax, rbx, rcx, rdx } = CarrierRegisters::carrying(number);
        registers[..4].copy_from_slice(&[rax, rbx, rcx, rdx]);
        CARRIED_ARGUMENTS
    } else {
        registers[RAX] = number.into();
        ARGUMENTS
    };
    for (place, argument) in places.into_iter().zip(arguments) {
        registers[place] = argument;
    }
}
