// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls in 32-bit protected mode: every arity with 32-bit arguments that the host knows in
//! advance, and the answers that are different in this mode. Command line: the transport
//! that must have been chosen, and how many calls of each arity to make.
#![no_std]
#![no_main]

use hcall_guest::abi::layout::Clock;
use hcall_guest::abi::number::{ECHO, KVM_LAST, PROBE};
use hcall_guest::abi::result::MAX_PAYLOAD_32;
use hcall_guest::abi::{decode_result, CallError, Errno, HypercallNumber, ABI_VERSION};
use hcall_guest::unikernel::{command_line, entry, guest_info, println, time};
use hcall_guest::{core_calls, hcall0, hcall1, hcall2, hcall3, hcall4, raw, Error, Trap};
use hcall_lab_contract::{mix, mix_32, ArgumentSequence, FAIL, MIX, MIX_32, UNREGISTERED};

entry!(main);

fn main() {
    let (transport, rounds) = command_line().split_once(' ').expect("two words");
    let rounds: u64 = rounds.parse().expect("a number");
    let host = hcall_guest::host().expect("an hcall host");
    assert_eq!(host.trap.transport().name(), transport);
    for (arity, number) in MIX_32.into_iter().enumerate() {
        let mut sequence = ArgumentSequence::new(arity as u64);
        for round in 0..rounds {
            let arguments = sequence.next_arguments_32(arity);
            assert_eq!(
                call(number, arity, arguments),
                Ok(mix_32(arity as u64, arguments)),
                "arity {arity}, round {round}, arguments {arguments:#x?}"
            );
        }
    }
    check_failures();
    check_overflow();
    check_kvms_numbers(host.trap);
    check_core_calls();
    println!("32 bits over {transport}");
}

fn call(number: HypercallNumber, arity: usize, arguments: [u64; 4]) -> Result<u64, Error> {
    let [a, b, c, d] = arguments;
    match arity {
        0 => hcall0(number),
        1 => hcall1(number, a),
        2 => hcall2(number, a, b),
        3 => hcall3(number, a, b, c),
        _ => hcall4(number, a, b, c, d),
    }
}

fn errno(errno: Errno) -> Result<u64, Error> {
    Err(CallError::Errno(errno).into())
}

fn check_failures() {
    for value in [1, 38, 999, 1001, Errno::MAX] {
        let expected = Errno::new(value).expect("an errno");
        assert_eq!(hcall1(FAIL, value.into()), errno(expected));
    }
    assert_eq!(hcall1(FAIL, 1000), errno(Errno::ENOSYS));
    assert_eq!(hcall0(UNREGISTERED), errno(Errno::ENOSYS));
    let wide = 1 << 32;
    assert_eq!(hcall1(ECHO, wide), Err(Error::ArgumentTooWide(wide)));
}

/// A payload that eax cannot hold is said so, not cut.
fn check_overflow() {
    assert_eq!(hcall1(ECHO, MAX_PAYLOAD_32), Ok(MAX_PAYLOAD_32));
    for value in [MAX_PAYLOAD_32 + 1, u64::from(u32::MAX)] {
        assert_eq!(hcall1(ECHO, value), errno(Errno::EOVERFLOW), "{value:#x}");
    }
    let answer = mix(0, [0; 4]);
    assert!(answer > MAX_PAYLOAD_32, "a payload of more than 32 bits");
    assert_eq!(hcall0(MIX[0]), errno(Errno::EOVERFLOW));
}

/// KVM's numbers are no calls: −1000 arrives as such.
fn check_kvms_numbers(trap: Trap) {
    for number in [0, KVM_LAST] {
        // SAFETY: detection chose this trap; the host answers KVM's numbers, and does
        // nothing else.
        let answer = unsafe {
            match trap {
                Trap::Vmmcall => raw::vmmcall(number, [0; 4]),
                Trap::Vmcall => raw::vmcall(number, [0; 4]),
                Trap::Port => raw::port_out(number, [0; 4]),
                Trap::CarrierVmmcall | Trap::CarrierVmcall => {
                    panic!("a carrier was chosen in 32-bit mode")
                }
            }
        };
        assert_eq!(decode_result(answer), Err(CallError::NotHcall), "{number}");
    }
}

fn check_core_calls() {
    assert_eq!(core_calls::probe(), Ok(ABI_VERSION));
    // The magic is in the half that is not there.
    assert_eq!(hcall0(PROBE), Ok(ABI_VERSION.get().into()));
    assert_eq!(guest_info().expect("GUEST_INFO").vcpu_count, 1);
    let before = time(Clock::Monotonic).expect("TIME");
    let after = time(Clock::Monotonic).expect("TIME");
    assert!(
        (after.seconds, after.nanoseconds) >= (before.seconds, before.nanoseconds),
        "monotonic time went back"
    );
}
