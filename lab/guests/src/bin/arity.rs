// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes calls of every arity with 64-bit arguments that the host knows in advance, and
//! checks every result.
#![no_std]
#![no_main]

use hcall_guest::unikernel::entry;
use hcall_guest::{hcall0, hcall1, hcall2, hcall3, hcall4};
use hcall_lab_contract::{mix, ArgumentSequence, ARITY_CALLS, MIX};

entry!(main);

fn main() {
    for (arity, number) in MIX.into_iter().enumerate() {
        let mut sequence = ArgumentSequence::new(arity as u64);
        for round in 0..ARITY_CALLS {
            let arguments @ [a, b, c, d] = sequence.next_arguments(arity);
            let answer = match arity {
                0 => hcall0(number),
                1 => hcall1(number, a),
                2 => hcall2(number, a, b),
                3 => hcall3(number, a, b, c),
                _ => hcall4(number, a, b, c, d),
            };
            assert_eq!(
                answer,
                Ok(mix(arity as u64, arguments)),
                "arity {arity}, round {round}, arguments {arguments:#x?}"
            );
        }
    }
}
