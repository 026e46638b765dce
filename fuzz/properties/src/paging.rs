// SPDX-License-Identifier: MIT OR Apache-2.0
//! Page walks through hostile tables, and accesses by them.

use crate::input::Input;
use crate::memory::Watched;
use hcall_vmm::hypercall::Cpl;
use hcall_vmm::memory::{CopyGuestMemory, OutsideMemory, VirtualMemory};
use hcall_vmm::paging::{Access, AddressSpace, ControlRegisters};
use hcall_vmm::Gpa;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use vm_memory::GuestMemoryMmap;

/// Two regions that touch, a hole, and one more.
const REGIONS: [(u64, usize); 3] = [(0, 0x4000), (0x4000, 0x1000), (0x8000, 0x2000)];
const EDGES: [u64; 8] = [0, 0x1000, 0x4000, 0x5000, 0x8000, 0xa000, 1 << 47, 1 << 32];
/// Most reads of a walk: as many as there are levels.
const READS: usize = 5;
/// Most entries of an input.
const ENTRIES: usize = 32;

/// Bits that decide how a walk goes: PG, PE and WP; PSE, PAE and LA57; LME, LMA and NXE.
const CR0: [u64; 3] = [1 << 31, 1, 1 << 16];
const CR4: [u64; 3] = [1 << 4, 1 << 5, 1 << 12];
const EFER: [u64; 3] = [1 << 8, 1 << 10, 1 << 11];

static MEMORY: LazyLock<Mutex<Watched>> = LazyLock::new(|| Mutex::new(Watched::new(&REGIONS)));

/// Tables, registers, and an address.
pub fn paging(data: &[u8]) {
    let mut input = Input::new(data);
    let memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    memory.reset();
    let space = AddressSpace::new(registers(&mut input));
    let gva = input.number(&EDGES);
    let (level, access) = (input.u8(), input.u8());
    let length = usize::from(input.u8());
    for _ in 0..ENTRIES {
        if input.is_empty() {
            break;
        }
        let place = u64::from(input.u16()) * 8 % 0xa000;
        let entry = entry(&mut input);
        memory.put(place, &entry.to_le_bytes());
    }
    let counted = Counted {
        memory: &memory.memory,
        reads: AtomicUsize::new(0),
    };
    let walked = space.walk(&counted, gva);
    let reads = counted.reads.load(Ordering::Relaxed);
    assert!(reads <= READS, "{reads} reads for a walk");
    match &walked {
        Ok(page) => {
            assert!(page.size().is_power_of_two() && page.size() >= 4096);
            assert!((1..=page.size()).contains(&page.remaining()));
            // The place in the page is that of the address.
            assert_eq!((page.gpa().get() ^ gva) & (page.size() - 1), 0);
            // And its neighbour in the page is the neighbour.
            if page.remaining() > 1 {
                let next = space.walk(&counted, gva + 1).expect("it is the same page");
                assert_eq!(next.gpa().get(), page.gpa().get() + 1);
            }
        }
        Err(fault) => assert!(!fault.to_string().is_empty()),
    }
    if let Ok(page) = walked {
        let cpl = Cpl::from_low_bits(level.into());
        let kind = if access & 1 == 0 {
            Access::Read
        } else {
            Access::Write
        };
        let allowed = space.check(&page, cpl, kind);
        if cpl.get() == 3 {
            let may = page.is_users() && (kind == Access::Read || page.is_writable());
            assert_eq!(allowed.is_ok(), may);
        }
        if kind == Access::Read && cpl.get() < 3 {
            assert_eq!(allowed, Ok(()));
        }
    }
    access_virtually(&memory, space, gva, length, level);
}

/// Reads and writes a few bytes from `gva` on, perhaps in several pages: what is written is
/// where the pages are, all or nothing.
fn access_virtually(memory: &Watched, space: AddressSpace, gva: u64, length: usize, level: u8) {
    let virtual_memory =
        VirtualMemory::new(&memory.memory, space, Cpl::from_low_bits(level.into()));
    let mut bytes = vec![0; length * 40];
    let read = virtual_memory.read(gva, &mut bytes);
    let mut places = Vec::new();
    let mut done = 0;
    while done < bytes.len() as u64 {
        let Ok(page) = space.walk(&memory.memory, gva.wrapping_add(done)) else {
            break;
        };
        let part = page.remaining().min(bytes.len() as u64 - done);
        places.push(page.gpa().get()..page.gpa().get().saturating_add(part));
        done += part;
    }
    if read.is_ok() {
        assert_eq!(done, bytes.len() as u64, "more was read than is mapped");
    }
    bytes.fill(0x5a);
    match virtual_memory.write(gva, &bytes) {
        Ok(()) => {
            assert_eq!(done, bytes.len() as u64, "more was written than is mapped");
            memory.settle(&places);
        }
        Err(_) => memory.settle(&[]),
    }
}

fn registers(input: &mut Input<'_>) -> ControlRegisters {
    let bits = input.u16();
    let of = |bits: u16, names: [u64; 3]| -> u64 {
        let set = names.into_iter().enumerate();
        set.filter(|(index, _)| (bits >> index) & 1 != 0)
            .map(|(_, bit)| bit)
            .sum()
    };
    ControlRegisters {
        // Paging is on more often than not.
        cr0: of(bits, CR0)
            | if bits & 0x200 == 0 {
                CR0[0] | CR0[1]
            } else {
                0
            },
        cr3: input.number(&EDGES),
        cr4: of(bits >> 3, CR4),
        efer: of(bits >> 6, EFER),
    }
}

/// Mostly one that leads somewhere.
fn entry(input: &mut Input<'_>) -> u64 {
    let shape = input.u8();
    match shape & 0xf {
        0xf => input.u64(),
        0xe => u64::from(input.u32()),
        page => (u64::from(page) << 12) | ((u64::from(shape & 0xf0) << 1) & 0x80) | 0b111,
    }
}

/// Memory that counts how often it is read.
#[derive(Debug)]
struct Counted<'memory> {
    memory: &'memory GuestMemoryMmap,
    reads: AtomicUsize,
}

impl CopyGuestMemory for Counted<'_> {
    fn read(&self, gpa: Gpa, bytes: &mut [u8]) -> Result<(), OutsideMemory> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        CopyGuestMemory::read(self.memory, gpa, bytes)
    }

    fn write(&self, gpa: Gpa, _: &[u8]) -> Result<(), OutsideMemory> {
        panic!("a walk wrote to {gpa}");
    }

    fn contains(&self, gpa: Gpa, length: usize) -> bool {
        CopyGuestMemory::contains(self.memory, gpa, length)
    }
}
