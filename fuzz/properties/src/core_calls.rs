// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls in a row, with hostile arguments and memory.

use crate::input::Input;
use crate::machine::{self, Machine, Rules, EDGES};
use crate::vcpu::FuzzVcpu;
use hcall_abi::number::BATCH;
use hcall_abi::{Transport, TransportSet};
use hcall_vmm::{Callers, Disposition, StopReason};
use std::sync::{LazyLock, Mutex, PoisonError};

/// Most calls of an input.
const CALLS: usize = 8;

static MACHINE: LazyLock<Mutex<Machine>> = LazyLock::new(|| {
    let offered = TransportSet::EMPTY.with(Transport::Instruction);
    Mutex::new(Machine::new(offered, Callers::KernelOnly))
});

/// The core calls and a few of others, each with what stands in memory.
pub fn core_calls(data: &[u8]) {
    let mut input = Input::new(data);
    let machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    machine.memory.reset();
    for _ in 0..CALLS {
        if input.is_empty() {
            return;
        }
        let length = usize::from(input.u8() % 64);
        machine
            .memory
            .put(input.number(&EDGES), input.bytes(length));
        let (number, arguments) = (machine::number(&mut input), machine::arguments(&mut input));
        let before = machine.host.counters().read();
        let rules = Rules::new(&machine.memory, number, arguments);
        let mut vcpu = FuzzVcpu::new();
        vcpu.trap(number, arguments);
        let disposition = machine.host.dispatch(&mut vcpu, 0, Transport::Instruction);
        rules.settle(vcpu.answer());
        let after = machine.host.counters().read();
        assert!(
            after.calls > before.calls
                && after.instruction - before.instruction == after.calls - before.calls
        );
        let failures =
            |stats: hcall_abi::layout::Stats| stats.failed + stats.refused + stats.unknown;
        if vcpu.answer() >= 0 && number != u64::from(BATCH.get()) {
            assert_eq!(
                failures(after),
                failures(before),
                "a success was counted as a failure"
            );
        }
        if let Disposition::Stop(StopReason::Panic(message)) = disposition {
            let harmless = |letter: char| !letter.is_control() || "\n\t".contains(letter);
            assert!(
                message.chars().all(harmless),
                "the message drives a terminal"
            );
        }
    }
}
