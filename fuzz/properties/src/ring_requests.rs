// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rings set up and torn down in any order, with any structure, by their real threads.

use crate::input::Input;
use crate::machine;
use crate::memory::Watched;
use crate::vcpu::FuzzVcpu;
use hcall_abi::convention::Arguments;
use hcall_abi::ioctl::NumberRange;
use hcall_abi::number::{RING_SETUP, RING_TEARDOWN};
use hcall_abi::ring::{RingLayout, RingSetup, RANGES_MAX};
use hcall_abi::{Errno, Transport, TransportSet};
use hcall_vmm::ring::{Doorbell, RingConfig, RingWiring, WiringError};
use hcall_vmm::{Disposition, HypercallHost};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;
use vmm_sys_util::eventfd::EventFd;

/// Guest memory: room for a ring, and a region that touches the first.
const REGIONS: [(u64, usize); 2] = [(0, 0x8000), (0x8000, 0x1000)];
const EDGES: [u64; 8] = [0, 0x1000, 0x7000, 0x8000, 0x9000, 256, 1024, 64];
/// Most rings at a time, and their most entries.
const RINGS: u32 = 2;
const ENTRIES: u32 = 256;
/// The interrupt that rings may have.
const INTERRUPT: u32 = 5;
/// Most requests of an input.
const REQUESTS: usize = 6;

struct Machine {
    memory: Watched,
    host: HypercallHost,
    wiring: Wiring,
}

static MACHINE: LazyLock<Mutex<Machine>> = LazyLock::new(|| {
    let memory = Watched::new(&REGIONS);
    let wiring = Wiring::default();
    let mut config = RingConfig::default();
    (config.rings, config.entries, config.poll) = (RINGS, ENTRIES, Duration::ZERO);
    let offered = TransportSet::EMPTY.with(Transport::Instruction);
    let host = HypercallHost::without_kvm(memory.memory.clone(), offered)
        .with_rings(memory.memory.clone(), wiring.clone(), config)
        .with_core_calls(machine::services());
    Mutex::new(Machine {
        memory,
        host,
        wiring,
    })
});

/// Requests, and then the end of all rings.
pub fn ring_requests(data: &[u8]) {
    let mut input = Input::new(data);
    let machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    machine.memory.reset();
    let mut rings = BTreeMap::new();
    let mut allowed = Vec::new();
    for _ in 0..REQUESTS {
        if input.is_empty() {
            break;
        }
        if input.u8() % 4 == 0 {
            machine.tear_down(u64::from(input.u8() % 4), &mut rings);
        } else {
            machine.set_up(&mut input, &mut rings, &mut allowed);
        }
        let interrupts: usize = rings
            .values()
            .filter(|ring| ring.has_interrupt)
            .count()
            .min(1);
        assert_eq!(machine.wiring.connected(), (rings.len(), interrupts));
    }
    machine.host.close_rings();
    assert_eq!(machine.wiring.connected(), (0, 0));
    machine.memory.settle(&allowed);
}

impl Machine {
    fn call(&self, number: u32, arguments: Arguments) -> i64 {
        let mut vcpu = FuzzVcpu::new();
        vcpu.trap(number.into(), arguments);
        let disposition = self.host.dispatch(&mut vcpu, 0, Transport::Instruction);
        assert_eq!(disposition, Disposition::Resume);
        machine::assert_conforming(vcpu.answer());
        vcpu.answer()
    }

    fn tear_down(&self, id: u64, rings: &mut BTreeMap<u64, Ring>) {
        let answer = self.call(RING_TEARDOWN.get(), [id, 0, 0, 0]);
        match rings.remove(&id) {
            Some(_) => assert_eq!(answer, 0),
            None => assert_eq!(answer, -i64::from(Errno::ENOENT.get())),
        }
    }

    /// A request; what came of it is kept, and what may change.
    fn set_up(
        &self,
        input: &mut Input<'_>,
        rings: &mut BTreeMap<u64, Ring>,
        allowed: &mut Vec<Range<u64>>,
    ) {
        let setup = setup(input);
        let descriptor = input.number(&EDGES);
        let place = descriptor..descriptor.saturating_add(size_of::<RingSetup>() as u64);
        if rings.values().any(|ring| ring.overlaps(&place)) {
            // The ring's thread may write to it at any time.
            return;
        }
        self.memory.put(descriptor, &setup.to_bytes());
        let length = match input.u8() {
            0 => input.number(&EDGES),
            _ => size_of::<RingSetup>() as u64,
        };
        let answer = self.call(RING_SETUP.get(), [descriptor, length, 0, 0]);
        let Ok(id) = u64::try_from(answer) else {
            return;
        };
        assert!(id < u64::from(RINGS), "ring {id} of {RINGS}");
        let layout = RingLayout::new(setup.entries);
        let bytes = layout.expect("a ring has a good number").bytes();
        assert!(setup.entries <= ENTRIES && setup.bytes >= bytes);
        assert!(setup.gpa + bytes <= 0x9000, "a ring outside of memory");
        let ring = Ring {
            has_interrupt: setup.interrupt != 0,
            place: setup.gpa..setup.gpa + bytes,
        };
        allowed.extend([place, ring.place.clone()]);
        assert!(rings.insert(id, ring).is_none(), "ring {id} twice");
    }
}

/// A ring that was set up.
struct Ring {
    has_interrupt: bool,
    place: Range<u64>,
}

impl Ring {
    fn overlaps(&self, place: &Range<u64>) -> bool {
        self.place.start < place.end && place.start < self.place.end
    }
}

/// Mostly good, for one that is all bad is refused at the first look.
fn setup(input: &mut Input<'_>) -> RingSetup {
    let shape = input.u8();
    let bad = |bit: u8| (shape >> bit) & 1 != 0;
    let entries = if bad(0) {
        input.u32()
    } else {
        1 << (input.u8() % 9)
    };
    let least = RingLayout::new(entries).map_or(0, RingLayout::bytes);
    let count = if bad(4) {
        input.u32()
    } else {
        input.u8() as u32 % 3
    };
    let mut ranges = [NumberRange::default(); RANGES_MAX];
    for range in ranges.iter_mut().take(count as usize) {
        range.first = input.u32();
        range.last = if bad(5) { input.u32() } else { u32::MAX };
    }
    RingSetup {
        gpa: if bad(1) {
            input.number(&EDGES)
        } else {
            u64::from(input.u8() % 8) * 0x1000
        },
        bytes: if bad(2) { input.number(&EDGES) } else { least },
        entries,
        flags: if bad(3) {
            input.u32()
        } else {
            u32::from(input.u8() & 1)
        },
        range_count: count,
        interrupt: input.choose(&[0, INTERRUPT, INTERRUPT, 6]),
        ranges,
        reserved: if bad(6) {
            std::array::from_fn(|_| input.u8().into())
        } else {
            [0; 10]
        },
        ..RingSetup::from_bytes(&[0; size_of::<RingSetup>()])
    }
}

/// What is connected; a ring refused must leave nothing behind.
#[derive(Clone, Debug, Default)]
struct Wiring(Arc<Mutex<(BTreeSet<u32>, BTreeSet<u32>)>>);

impl Wiring {
    fn connected(&self) -> (usize, usize) {
        let wired = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (wired.0.len(), wired.1.len())
    }
}

impl RingWiring for Wiring {
    fn connect_doorbell(&self, ring: u32, _: &EventFd) -> Result<Doorbell, WiringError> {
        let mut wired = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(wired.0.insert(ring), "doorbell {ring} twice");
        Ok(Doorbell::Port {
            port: 0xe8,
            value: ring,
        })
    }

    fn disconnect_doorbell(&self, ring: u32, _: &EventFd) {
        let mut wired = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(wired.0.remove(&ring), "doorbell {ring} was not there");
    }

    fn connect_interrupt(&self, gsi: u32, _: &EventFd) -> Result<(), WiringError> {
        if gsi != INTERRUPT {
            return Err(WiringError::InterruptTaken);
        }
        let mut wired = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(wired.1.insert(gsi), "interrupt {gsi} twice");
        Ok(())
    }

    fn disconnect_interrupt(&self, gsi: u32, _: &EventFd) {
        let mut wired = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(wired.1.remove(&gsi), "interrupt {gsi} was not there");
    }
}
