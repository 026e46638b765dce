// SPDX-License-Identifier: MIT OR Apache-2.0
//! Batches: hostile entries, entries that write to the batch, and memory that changes with
//! every access.

use crate::input::Input;
use crate::machine::{self, Machine, Rules, EDGES};
use crate::vcpu::FuzzVcpu;
use hcall_abi::batch::BatchEntry;
use hcall_abi::number::BATCH;
use hcall_abi::{Errno, Gpa, Transport, TransportSet};
use hcall_vmm::memory::{CopyGuestMemory, OutsideMemory};
use hcall_vmm::{Callers, HypercallHost};
use std::sync::{LazyLock, Mutex, PoisonError};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const OFFERED: TransportSet = TransportSet::EMPTY.with(Transport::Instruction);
/// Most entries that the input says; what stands behind them is zero.
const ENTRIES: usize = 24;

static MACHINE: LazyLock<Mutex<(Machine, HypercallHost)>> = LazyLock::new(|| {
    let machine = Machine::new(OFFERED, Callers::KernelOnly);
    let restless = HypercallHost::without_kvm(Restless(machine.memory.memory.clone()), OFFERED)
        .with_core_calls(machine::services());
    machine::register(&restless);
    Mutex::new((machine, restless))
});

/// A batch, in memory that stands still or does not.
pub fn batch(data: &[u8]) {
    let mut input = Input::new(data);
    let machines = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let (machine, restless) = &*machines;
    machine.memory.reset();
    let shape = input.u8();
    let gpa = input.number(&EDGES);
    let flags = u64::from(shape & 1) | if shape & 0xc0 == 0xc0 { input.u64() } else { 0 };
    let mut count = 0;
    while !input.is_empty() && count < ENTRIES {
        let place = gpa.wrapping_add((count * size_of::<BatchEntry>()) as u64);
        machine.memory.put(place, &entry(&mut input).to_bytes());
        count += 1;
    }
    let count = match (shape >> 1) & 7 {
        0 => input.number(&EDGES),
        1 => count as u64 + 1,
        _ => count as u64,
    };
    let arguments = [gpa, count, flags, 0];
    let mut vcpu = FuzzVcpu::new();
    vcpu.trap(BATCH.get().into(), arguments);
    if shape & 0x30 == 0x30 {
        let _ = restless.dispatch(&mut vcpu, 0, Transport::Instruction);
        machine::assert_conforming(vcpu.answer());
        assert!(vcpu.answer() <= count as i64 || vcpu.answer() < 0);
        return machine.memory.settle_anything();
    }
    let rules = Rules::new(&machine.memory, BATCH.get().into(), arguments);
    let before = machine.host.counters().read();
    let _ = machine.host.dispatch(&mut vcpu, 0, Transport::Instruction);
    rules.settle(vcpu.answer());
    let after = machine.host.counters().read();
    let answered = u64::try_from(vcpu.answer()).unwrap_or(0);
    assert_eq!(
        after.calls - before.calls,
        1 + answered,
        "not every call was counted once"
    );
    if flags > 1 {
        assert_eq!(
            vcpu.answer(),
            -i64::from(Errno::EINVAL.get()),
            "unknown flags were taken"
        );
    }
}

fn entry(input: &mut Input<'_>) -> BatchEntry {
    let shape = input.u8();
    BatchEntry {
        number: machine::number(input) as u32,
        flags: if shape & 0xf == 0xf { input.u32() } else { 0 },
        arguments: machine::arguments(input),
        result: 0x5a5a,
        reserved: if shape & 0xf0 == 0xf0 {
            [input.u64(), input.u64()]
        } else {
            [0; 2]
        },
    }
}

/// Memory in which another processor turns over what has just been read.
#[derive(Debug)]
struct Restless(GuestMemoryMmap);

impl CopyGuestMemory for Restless {
    fn read(&self, gpa: Gpa, bytes: &mut [u8]) -> Result<(), OutsideMemory> {
        CopyGuestMemory::read(&self.0, gpa, bytes)?;
        let turned: Vec<u8> = bytes
            .iter()
            .map(|byte| byte.rotate_left(3) ^ 0x41)
            .collect();
        // What was read is memory.
        self.0
            .write_slice(&turned, GuestAddress(gpa.get()))
            .expect("it was read");
        Ok(())
    }

    fn write(&self, gpa: Gpa, bytes: &[u8]) -> Result<(), OutsideMemory> {
        CopyGuestMemory::write(&self.0, gpa, bytes)
    }

    fn contains(&self, gpa: Gpa, length: usize) -> bool {
        CopyGuestMemory::contains(&self.0, gpa, length)
    }
}
