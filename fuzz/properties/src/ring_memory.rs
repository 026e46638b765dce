// SPDX-License-Identifier: MIT OR Apache-2.0
//! A ring whose memory the guest writes as it likes, between bursts of its service.

use crate::guest_half::guest_half;
use crate::input::Input;
use crate::machine;
use crate::memory::Watched;
use hcall_abi::ioctl::NumberRange;
use hcall_abi::number::{CORE_FIRST, CORE_LAST};
use hcall_abi::ring::{
    RingEntry, RingLayout, RingSetup, COMPLETION_HEAD, COMPLETION_TAIL, FLAG_PROCESS, HEADER_BYTES,
    RANGES_MAX, STATUS, STATUS_BROKEN, STATUS_CLOSED, SUBMISSION_TAIL,
};
use hcall_abi::{Gpa, Transport, TransportSet};
use hcall_vmm::fuzzing::InlineRing;
use hcall_vmm::HypercallHost;
use std::ops::Range;
use std::sync::{LazyLock, Mutex, PoisonError};
use vm_memory::{Bytes, GuestAddress};

const DESCRIPTOR: u64 = 0x100;
const REGION: u64 = 0x1000;
const MEMORY: usize = 0x4000;
/// Most things that the guest does in an input.
const STEPS: usize = 64;

static MACHINE: LazyLock<Mutex<(Watched, HypercallHost)>> = LazyLock::new(|| {
    let memory = Watched::new(&[(0, MEMORY)]);
    let offered = TransportSet::EMPTY.with(Transport::Instruction);
    let host = HypercallHost::without_kvm(memory.memory.clone(), offered)
        .with_core_calls(machine::services());
    machine::register(&host);
    Mutex::new((memory, host))
});

/// A ring of a kernel or of a process, and what its guest does to it.
pub fn ring_memory(data: &[u8]) {
    let mut input = Input::new(data);
    let machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let (memory, host) = &*machine;
    memory.reset();
    let shape = input.u8();
    let entries = 1 << (shape & 7);
    let layout = RingLayout::new(entries).expect("a power of two");
    if shape >> 4 == 0xf && REGION + layout.bytes() <= MEMORY as u64 {
        guest_half(memory, REGION, layout, &mut input);
        return memory.settle(&[REGION..REGION + layout.bytes(), 0..0]);
    }
    // What the VMM's own calls do with a process's arguments is theirs to say.
    let by_process = shape & 8 == 0;
    let mut ranges = [NumberRange::default(); RANGES_MAX];
    (ranges[0].first, ranges[0].last) = (CORE_FIRST, CORE_LAST);
    let setup = RingSetup {
        gpa: REGION,
        bytes: layout.bytes(),
        entries,
        flags: if by_process { FLAG_PROCESS } else { 0 },
        range_count: by_process.into(),
        ranges,
        ..RingSetup::from_bytes(&[0; size_of::<RingSetup>()])
    };
    memory.put(DESCRIPTOR, &setup.to_bytes());
    let descriptor = Gpa::new(DESCRIPTOR);
    let length = size_of::<RingSetup>() as u64;
    let mut ring = match InlineRing::set_up(host, &memory.memory, descriptor, length) {
        Ok(ring) => ring,
        Err(errno) => {
            let fits = REGION + layout.bytes() <= MEMORY as u64;
            return assert!(!fits, "a good ring was refused: {errno}");
        }
    };
    let guest = Guest { memory, layout };
    let mut damage = None;
    for _ in 0..STEPS {
        if input.is_empty() || damage.is_some() {
            break;
        }
        guest.step(&mut input);
        let before = (guest.word(COMPLETION_TAIL), host.counters().read().calls);
        match ring.serve() {
            Ok(_) => {
                let posted = guest.word(COMPLETION_TAIL).wrapping_sub(before.0);
                let answered = host.counters().read().calls - before.1;
                if posted != 0 {
                    // What the guest had written to the host's own word does not count.
                    assert!(answered <= 16, "a burst of {answered}");
                }
            }
            Err(error) => damage = Some(error),
        }
    }
    ring.end(damage);
    let status = guest.word(STATUS);
    assert_eq!(status, damage.map_or(STATUS_CLOSED, |_| STATUS_BROKEN));
    if by_process {
        memory.settle(&guest.service_writes());
    } else {
        // A kernel's calls may have it write anywhere, as they may by other ways.
        memory.settle_anything();
    }
}

/// The guest's side of a ring.
struct Guest<'memory> {
    memory: &'memory Watched,
    layout: RingLayout,
}

impl Guest<'_> {
    fn word(&self, offset: u64) -> u32 {
        let memory = &self.memory.memory;
        memory
            .read_obj(GuestAddress(REGION + offset))
            .expect("the ring is in memory")
    }

    fn store(&self, offset: u64, value: u32) {
        self.memory.put(REGION + offset, &value.to_le_bytes());
    }

    fn add(&self, offset: u64, value: u32) {
        self.store(offset, self.word(offset).wrapping_add(value));
    }

    /// One thing that a guest may do, or should not.
    fn step(&self, input: &mut Input<'_>) {
        match input.u8() % 8 {
            0..=3 => {
                let entry = entry(input);
                for (offset, word) in (0..).step_by(8).zip(entry.to_words()) {
                    let place = self.layout.submission(self.word(SUBMISSION_TAIL));
                    self.memory
                        .put(REGION + place + offset, &word.to_le_bytes());
                }
                self.add(SUBMISSION_TAIL, 1);
            }
            4 => self.add(SUBMISSION_TAIL, input.u8().into()),
            5 => self.add(COMPLETION_HEAD, input.u8().into()),
            6 => {
                let offset = u64::from(input.u8() % 8) * 0x80;
                let value = input.number(&[0, u64::from(self.layout.entries())]);
                self.store(offset, value as u32);
            }
            _ => {
                let offset = u64::from(input.u16()) % self.layout.bytes();
                let room = (self.layout.bytes() - offset).min(64) as usize;
                self.memory.put(REGION + offset, input.bytes(room));
            }
        }
    }

    /// What the service writes itself.
    fn service_writes(&self) -> [Range<u64>; 2] {
        let header = REGION..REGION + HEADER_BYTES;
        let completions = REGION + self.layout.completions()..REGION + self.layout.bytes();
        [header, completions]
    }
}

fn entry(input: &mut Input<'_>) -> RingEntry {
    let shape = input.u8();
    RingEntry {
        number: machine::number(input) as u32,
        flags: if shape & 7 == 7 { input.u32() } else { 0 },
        arguments: machine::arguments(input),
        user_data: shape.into(),
        reserved: if shape & 0xf0 == 0xf0 {
            [input.u64(), 0]
        } else {
            [0; 2]
        },
    }
}
