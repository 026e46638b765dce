// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes calls over every transport that the host offers, in turn, and checks every result.
#![no_std]
#![no_main]

use hcall_guest::abi::convention::TrapInstruction;
use hcall_guest::abi::Transport;
use hcall_guest::unikernel::entry;
use hcall_guest::{raw, Trap};
use hcall_lab_contract::{mix, ArgumentSequence, ARITY_CALLS, MIX};

entry!(main);

const ARITY: usize = 4;

fn main() {
    let host = hcall_guest::host().expect("an hcall host");
    let mut sequence = ArgumentSequence::new(ARITY as u64);
    for round in 0..ARITY_CALLS {
        for transport in host.advertisement.transports.iter() {
            let arguments = sequence.next_arguments(ARITY);
            let answer = call(transport, host.trap, arguments);
            let expected = mix(ARITY as u64, arguments) as i64;
            assert_eq!(answer, expected, "{transport}, round {round}");
        }
    }
}

fn call(transport: Transport, trap: Trap, arguments: [u64; 4]) -> i64 {
    let number = MIX[ARITY].get();
    // SAFETY: the host offered these transports, and said by the trap which instruction is
    // the processor's; the call only computes.
    unsafe {
        match (transport, trap.instruction()) {
            (Transport::Port, _) => raw::port_out(number, arguments),
            (Transport::Instruction, Some(TrapInstruction::Vmmcall)) => {
                raw::vmmcall(number, arguments)
            }
            (Transport::Instruction, Some(TrapInstruction::Vmcall)) => {
                raw::vmcall(number, arguments)
            }
            (Transport::Carrier, Some(TrapInstruction::Vmmcall)) => {
                raw::carrier_vmmcall(number, arguments)
            }
            (Transport::Carrier, Some(TrapInstruction::Vmcall)) => {
                raw::carrier_vmcall(number, arguments)
            }
            other => panic!("no call for {other:?}"),
        }
    }
}
