// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guest memory that cannot be left without a fault, because no page before and after each
//! of its regions may be touched; and whose changes are seen.

use rustix::mm::{madvise, mmap_anonymous, mprotect, Advice, MapFlags, MprotectFlags, ProtFlags};
use std::ops::Range;
use std::sync::Mutex;
use vm_memory::{
    Bytes, GuestAddress, GuestMemory, GuestMemoryMmap, GuestMemoryRegion, GuestRegionCollection,
    GuestRegionMmap, MmapRegion,
};

const PAGE: usize = 4096;
const MAP_PRIVATE_ANONYMOUS: i32 = (MapFlags::PRIVATE.bits() | 0x20) as i32;

/// Guest memory with these regions, whole pages each. It is never unmapped.
pub(crate) fn guarded(regions: &[(u64, usize)]) -> GuestMemoryMmap {
    let regions = regions.iter().map(|(start, length)| {
        GuestRegionMmap::new(guarded_region(*length), GuestAddress(*start))
            .expect("the regions end below 2^64")
    });
    GuestRegionCollection::from_regions(regions.collect()).expect("the regions are disjoint")
}

fn guarded_region(length: usize) -> MmapRegion {
    assert_eq!(length % PAGE, 0, "regions are whole pages");
    // SAFETY: a new mapping, wherever the kernel likes, touches nothing that is there.
    let outer = unsafe {
        mmap_anonymous(
            std::ptr::null_mut(),
            length + 2 * PAGE,
            ProtFlags::empty(),
            MapFlags::PRIVATE,
        )
    }
    .expect("guest memory can be mapped");
    let inner = outer.wrapping_byte_add(PAGE);
    // SAFETY: the range lies within the mapping just made, which nobody else knows.
    unsafe { mprotect(inner, length, MprotectFlags::READ | MprotectFlags::WRITE) }
        .expect("guest memory can be made accessible");
    let protection = (ProtFlags::READ | ProtFlags::WRITE).bits() as i32;
    // SAFETY: the mapping has this length, protection and kind, and is never unmapped.
    unsafe { MmapRegion::build_raw(inner.cast(), length, protection, MAP_PRIVATE_ANONYMOUS) }
        .expect("the mapping is aligned to pages")
}

/// Makes all of it zero, by dropping the pages that were touched.
pub(crate) fn clear(memory: &GuestMemoryMmap) {
    for region in memory.iter() {
        // SAFETY: the region is a private anonymous mapping of this length; guest memory is
        // only ever accessed volatilely, so that nothing relies on what stands in it.
        unsafe {
            madvise(
                region.as_ptr().cast(),
                region.len() as usize,
                Advice::LinuxDontNeed,
            )
        }
        .expect("guest memory can be dropped");
    }
}

/// Guest memory, with a copy of what stood in it at the beginning.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) memory: GuestMemoryMmap,
    before: Mutex<Vec<Vec<u8>>>,
}

impl Watched {
    /// Memory with these regions, all zero.
    pub(crate) fn new(regions: &[(u64, usize)]) -> Self {
        Self {
            memory: guarded(regions),
            before: Mutex::new(regions.iter().map(|(_, length)| vec![0; *length]).collect()),
        }
    }

    /// Puts `bytes` to `address`, as far as there is memory, and takes it as unchanged.
    pub(crate) fn put(&self, address: u64, bytes: &[u8]) {
        let mut before = self.before.lock().expect("nobody panics with it");
        for (region, copy) in self.memory.iter().zip(before.iter_mut()) {
            let start = region.start_addr().0;
            let Some(offset) = address.checked_sub(start) else {
                continue;
            };
            let Some(room) = copy.get_mut(offset as usize..) else {
                continue;
            };
            let length = bytes.len().min(room.len());
            room[..length].copy_from_slice(&bytes[..length]);
            self.memory
                .write_slice(&bytes[..length], GuestAddress(address))
                .expect("it is in the region");
        }
    }

    /// Asserts that nothing has changed outside of `allowed`, and puts everything back.
    pub(crate) fn settle(&self, allowed: &[Range<u64>]) {
        let before = self.before.lock().expect("nobody panics with it");
        let mut now = [0; PAGE];
        for (region, copy) in self.memory.iter().zip(before.iter()) {
            for (address, copy) in (region.start_addr().0..)
                .step_by(PAGE)
                .zip(copy.chunks(PAGE))
            {
                self.memory
                    .read_slice(&mut now, GuestAddress(address))
                    .expect("it is in the region");
                if now != copy {
                    check_page(address, copy, &now, allowed);
                    self.memory
                        .write_slice(copy, GuestAddress(address))
                        .expect("it is in the region");
                }
            }
        }
    }

    /// Puts everything back, whatever has changed.
    pub(crate) fn settle_anything(&self) {
        self.settle(std::slice::from_ref(&(0..u64::MAX)));
    }

    /// Makes all of it zero again.
    pub(crate) fn reset(&self) {
        let mut before = self.before.lock().expect("nobody panics with it");
        for (region, copy) in self.memory.iter().zip(before.iter_mut()) {
            if copy.iter().any(|byte| *byte != 0) {
                copy.fill(0);
                self.memory
                    .write_slice(copy, region.start_addr())
                    .expect("it is the region");
            }
        }
    }
}

fn check_page(address: u64, before: &[u8], now: &[u8], allowed: &[Range<u64>]) {
    for (place, (before, now)) in (address..).zip(before.iter().zip(now)) {
        assert!(
            before == now || allowed.iter().any(|range| range.contains(&place)),
            "the byte at {place:#x} became {now:#x}, and may not change; allowed: {allowed:x?}"
        );
    }
}
