// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls that no well-meaning guest makes; each must be answered with the errno of the
//! ABI, and the host must live.
#![no_std]
#![no_main]

use hcall_guest::abi::number::{
    BATCH, CONSOLE_WRITE, EXIT, GUEST_INFO, HYPERV_BIT, KVM_LAST, PANIC, RANDOM, RING_SETUP, STATS,
    TIME,
};
use hcall_guest::abi::result::KVM_ENOSYS_RESULT;
use hcall_guest::unikernel::{entry, println};
use hcall_guest::{hcall1, hcall2, raw, Errno, HypercallNumber, Trap};

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
    upper_bits(host.trap);
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
    expect(BATCH, 0x10_0000, 1, Errno::ENOSYS);
    expect(RING_SETUP, 0x10_0000, 1, Errno::ENOSYS);
    assert_eq!(hcall1(hcall_guest::abi::number::FEATURES, 1), Ok(0));
}

fn trap(trap: Trap, number: u32) -> i64 {
    // SAFETY: the host offered this trap, and no handler is behind the numbers tried here.
    unsafe {
        match trap {
            Trap::Vmmcall => raw::vmmcall(number, [0; 4]),
            Trap::Vmcall => raw::vmcall(number, [0; 4]),
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
        HYPERV_BIT | 0x4843_0000,
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
    let number: u64 = (1 << 32) | u64::from(hcall_guest::abi::number::PROBE.get());
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
        }
    }
    assert_eq!(result, -i64::from(Errno::EINVAL.get()));
}
