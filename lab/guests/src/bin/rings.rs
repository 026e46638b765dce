// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes calls at CPL 3, and reports to the host by `PRINT(number, rax, cs)` what came
//! back; the host knows what is due. Command line: a transport, and an IOPL.
#![no_std]
#![no_main]

use hcall_guest::abi::carrier::CarrierRegisters;
use hcall_guest::abi::convention::TrapInstruction;
use hcall_guest::abi::Transport;
use hcall_guest::hcall3;
use hcall_guest::unikernel::{command_line, entry};
use hcall_lab_contract::{ArgumentSequence, LEVEL, OPEN_LEVEL, PRINT, UNREGISTERED};
use hcall_lab_guests::descend::{self, Descent, Registers};

entry!(main);

fn main() {
    let (transport, privilege) = parse(command_line());
    let host = hcall_guest::host().expect("an hcall host");
    let code = match (transport, host.trap.instruction()) {
        (Transport::Port, _) => descend::PORT,
        (_, Some(TrapInstruction::Vmmcall)) => descend::VMMCALL,
        (_, Some(TrapInstruction::Vmcall)) => descend::VMCALL,
        other => panic!("no trap for {other:?}"),
    };
    let descent = Descent::prepare();
    let mut sequence = ArgumentSequence::new(0);
    for number in [LEVEL, OPEN_LEVEL, UNREGISTERED] {
        let registers = registers_of(transport, number.get(), sequence.next_arguments(4));
        let back = descent.run(code, &registers, privilege);
        hcall3(PRINT, number.get().into(), back.rax, back.cs).expect("PRINT answers");
    }
}

/// The transport, and the rflags for CPL 3.
fn parse(line: &str) -> (Transport, u64) {
    let (name, privilege) = line.split_once(' ').expect("two words");
    let transport = Transport::ALL
        .into_iter()
        .find(|transport| transport.name() == name)
        .expect("a transport");
    let privilege: u64 = privilege.parse().expect("an IOPL");
    (transport, descend::flags(privilege))
}

fn registers_of(transport: Transport, number: u32, arguments: [u64; 4]) -> Registers {
    let [first, second, third, fourth] = arguments;
    if transport == Transport::Carrier {
        let CarrierRegisters { rax, rbx, rcx, rdx } = CarrierRegisters::carrying(number);
        return Registers([rax, rbx, rcx, rdx, first, second, third, fourth]);
    }
    Registers([number.into(), first, second, third, fourth, 0, 0, 0])
}
