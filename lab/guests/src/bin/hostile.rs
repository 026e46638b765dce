// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls that no well-meaning guest makes; each must be answered with the errno of the
//! ABI, and the host must live.
#![no_std]
#![no_main]

use hcall_guest::abi::carrier::CarrierRegisters;
use hcall_guest::abi::convention::TrapInstruction;
use hcall_guest::abi::number::{
    BATCH, CONSOLE_WRITE, CORE_FIRST, EXIT, GUEST_INFO, HYPERV_BIT, KVM_LAST, PANIC, PROBE, RANDOM,
    RING_SETUP, STATS, TIME,
};
use hcall_guest::abi::result::KVM_ENOSYS_RESULT;
use hcall_guest::unikernel::{entry, println};
use hcall_guest::{hcall0, hcall1, hcall2, raw, Errno, HypercallNumber, Trap};

entry!(main);

/// Size of this guest's memory.
const MEMORY_END: u64 = 256 << 20;
/// The host's limit for a buffer.
const BUFFER_LIMIT: u64 = 64 << 10;

fn main() {
    let host = hcall_guest::host().expect("an hcall host");
    assert_eq!(
        u64::from(host.advertisement.limits.buffer_bytes),
        BUFFER_LIMIT
    );
    buffers_outside_memory();
    buffers_too_long();
    wrong_arguments();
    numbers_of_others(host.trap);
    match host.trap {
        Trap::CarrierVmmcall => broken_carriers(TrapInstruction::Vmmcall),
        Trap::CarrierVmcall => broken_carriers(TrapInstruction::Vmcall),
        trap => upper_bits(trap),
    }
    println!("the host lives");
}

fn expect(number: HypercallNumber, a: u64, b: u64, errno: Errno) {
    let error = hcall2(number, a, b).expect_err("a hostile call");
    assert_eq!(error.errno(), Some(errno), "{number} {a:#x} {b:#x}");
}

fn buffers_outside_memory() {
    for number in [CONSOLE_WRITE, RANDOM, GUEST_INFO, STATS, PANIC] {
        for gpa in [
            MEMORY_END,
            MEMORY_END - 1,
            1 << 32,
            1 << 52,
            u64::MAX,
            u64::MAX - 15,
        ] {
            expect(number, gpa, 16, Errno::EFAULT);
        }
    }
    expect(TIME, 0, MEMORY_END - 15, Errno::EFAULT);
    expect(TIME, 0, u64::MAX, Errno::EFAULT);
}

fn buffers_too_long() {
    for number in [CONSOLE_WRITE, RANDOM, PANIC, GUEST_INFO, STATS] {
        for length in [BUFFER_LIMIT + 1, 1 << 32, u64::MAX] {
            expect(number, 0x10_0000, length, Errno::EMSGSIZE);
        }
    }
    // A length of 0 touches nothing, wherever the buffer is.
    assert_eq!(hcall2(CONSOLE_WRITE, u64::MAX, 0), Ok(0));
    assert_eq!(hcall2(RANDOM, u64::MAX, 0), Ok(0));
}

fn wrong_arguments() {
    expect(EXIT, 256, 0, Errno::EINVAL);
    expect(EXIT, u64::MAX, 0, Errno::EINVAL);
    expect(TIME, 2, 0x10_0000, Errno::EINVAL);
    expect(BATCH, MEMORY_END, 1, Errno::EFAULT);
    expect(RING_SETUP, 0x10_0000, 1, Errno::ENOSYS);
    assert_eq!(hcall1(hcall_guest::abi::number::FEATURES, 1), Ok(0));
}

fn trap(trap: Trap, number: u32) -> i64 {
    // SAFETY: the host offered this trap, and no handler is behind the numbers tried here.
    unsafe {
        match trap {
            Trap::Vmmcall => raw::vmmcall(number, [0; 4]),
            Trap::Vmcall => raw::vmcall(number, [0; 4]),
            Trap::CarrierVmmcall => raw::carrier_vmmcall(number, [0; 4]),
            Trap::CarrierVmcall => raw::carrier_vmcall(number, [0; 4]),
            Trap::Port => raw::port_out(number, [0; 4]),
        }
    }
}

fn numbers_of_others(kind: Trap) {
    for number in 0..=KVM_LAST {
        assert_eq!(trap(kind, number), KVM_ENOSYS_RESULT, "KVM's {number}");
    }
    for number in [
        13,
        14,
        33,
        0x3000,
        HYPERV_BIT,
        HYPERV_BIT | CORE_FIRST,
        u32::MAX,
    ] {
        assert_eq!(
            trap(kind, number),
            -i64::from(Errno::ENOSYS.get()),
            "{number:#x}"
        );
    }
}

/// The upper half of rax is not part of the number, and must be zero.
fn upper_bits(kind: Trap) {
    let number: u64 = (1 << 32) | u64::from(PROBE.get());
    let result: i64;
    // SAFETY: the host offered this trap; PROBE has no effect. rbx, rcx, rdx, rsi are
    // inputs that PROBE does not read.
    unsafe {
        match kind {
            Trap::Vmmcall => core::arch::asm!("vmmcall", inlateout("rax") number => result),
            Trap::Vmcall => core::arch::asm!("vmcall", inlateout("rax") number => result),
            Trap::Port => core::arch::asm!(
                "out {port}, eax",
                port = const hcall_guest::abi::transport::PORT,
                inlateout("rax") number => result
            ),
            Trap::CarrierVmmcall | Trap::CarrierVmcall => unreachable!("rax is no number there"),
        }
    }
    assert_eq!(result, -i64::from(Errno::EINVAL.get()));
}

/// What is not exactly the carrier's shape is a request to KVM or to the VMM's memory
/// management, and never a call.
fn broken_carriers(instruction: TrapInstruction) {
    let calls = || hcall0(PROBE).expect("the host answers");
    calls();
    let call = CarrierRegisters::carrying(PROBE.get());
    let einval = -i64::from(Errno::EINVAL.get());
    for (registers, answer) in [
        // KVM knows no such number.
        (
            CarrierRegisters {
                rax: (1 << 32) | call.rax,
                ..call
            },
            KVM_ENOSYS_RESULT,
        ),
        // KVM refuses an unaligned address, no pages, and more than there are.
        (CarrierRegisters { rbx: 1, ..call }, einval),
        (CarrierRegisters { rcx: 0, ..call }, einval),
        (
            CarrierRegisters {
                rbx: 1 << 12,
                rcx: u64::MAX,
                ..call
            },
            einval,
        ),
        // Real requests, or nearly: they reach the VMM, which maps nothing.
        (
            CarrierRegisters {
                rbx: 1 << 12,
                ..call
            },
            KVM_ENOSYS_RESULT,
        ),
        (CarrierRegisters { rcx: 2, ..call }, KVM_ENOSYS_RESULT),
        (CarrierRegisters { rdx: 0x10, ..call }, KVM_ENOSYS_RESULT),
        (
            CarrierRegisters {
                rdx: u64::MAX,
                ..call
            },
            KVM_ENOSYS_RESULT,
        ),
    ] {
        assert_eq!(carry(instruction, registers), answer, "{registers:x?}");
    }
    calls();
}

/// Executes the instruction with these registers and returns rax.
fn carry(instruction: TrapInstruction, registers: CarrierRegisters) -> i64 {
    let result: i64;
    // SAFETY: the host offered this instruction in the carrier's shape; what it makes of
    // another shape is to do nothing. rbx is exchanged before and after.
    unsafe {
        match instruction {
            TrapInstruction::Vmmcall => core::arch::asm!(
                "xchg {rbx}, rbx",
                "vmmcall",
                "xchg {rbx}, rbx",
                rbx = inout(reg) registers.rbx => _,
                inlateout("rax") registers.rax => result,
                in("rcx") registers.rcx,
                in("rdx") registers.rdx,
            ),
            TrapInstruction::Vmcall => core::arch::asm!(
                "xchg {rbx}, rbx",
                "vmcall",
                "xchg {rbx}, rbx",
                rbx = inout(reg) registers.rbx => _,
                inlateout("rax") registers.rax => result,
                in("rcx") registers.rcx,
                in("rdx") registers.rdx,
            ),
        }
    }
    result
}
