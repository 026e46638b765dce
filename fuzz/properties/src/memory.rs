// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guest memory that cannot be left without a fault, because no page before and after each
//! of its regions may be touched; and whose changes are seen.

use rustix::mm::{madvise, Advice, MapFlags, ProtFlags};
#[cfg(not(miri))]
use rustix::mm::{mmap_anonymous, mprotect, MprotectFlags};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
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
    let protection = (ProtFlags::READ | ProtFlags::WRITE).bits() as i32;
    // SAFETY: what is mapped has this length, protection and kind, and is never unmapped.
    unsafe { MmapRegion::build_raw(map(length), length, protection, MAP_PRIVATE_ANONYMOUS) }
        .expect("the mapping is aligned to pages")
}

/// In Miri, which maps nothing: it sees every access beyond an allocation itself.
#[cfg(miri)]
fn map(length: usize) -> *mut u8 {
    let layout = std::alloc::Layout::from_size_align(length, PAGE).expect("whole pages are");
    // SAFETY: no region is empty.
    unsafe { std::alloc::alloc_zeroed(layout) }
}

#[cfg(not(miri))]
fn map(length: usize) -> *mut u8 {
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
    inner.cast()
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

/// Guest memory, with a copy of what is to stand in it.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) memory: GuestMemoryMmap,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    /// By region.
    bytes: Vec<Vec<u8>>,
    /// What was put into them: region, and range in it.
    put: Vec<(usize, Range<usize>)>,
}

impl Watched {
    /// Memory with these regions, all zero.
    pub(crate) fn new(regions: &[(u64, usize)]) -> Self {
        let bytes = regions.iter().map(|(_, length)| vec![0; *length]);
        Self {
            memory: guarded(regions),
            kept: Mutex::new(Kept {
                bytes: bytes.collect(),
                put: Vec::new(),
            }),
        }
    }

    /// Puts `bytes` to `address`, as far as there is memory, and takes it as unchanged.
    pub(crate) fn put(&self, address: u64, bytes: &[u8]) {
        let kept = &mut *self.kept();
        for (index, region) in self.memory.iter().enumerate() {
            let first = region.start_addr().0;
            let end = address.saturating_add(bytes.len() as u64);
            let start = address.max(first);
            let end = end.min(first + region.len());
            if start >= end {
                continue;
            }
            let part = &bytes[(start - address) as usize..(end - address) as usize];
            let places = (start - first) as usize..(end - first) as usize;
            kept.bytes[index][places.clone()].copy_from_slice(part);
            kept.put.push((index, places));
            self.memory
                .write_slice(part, GuestAddress(start))
                .expect("it is in the region");
        }
    }

    /// Puts back what stands in `allowed`, and asserts that nothing else has changed.
    pub(crate) fn settle(&self, allowed: &[Range<u64>]) {
        let kept = self.kept();
        for (region, bytes) in self.memory.iter().zip(&kept.bytes) {
            let start = region.start_addr().0;
            let clip = |address: u64| (address.saturating_sub(start) as usize).min(bytes.len());
            for range in allowed {
                let part = &bytes[clip(range.start)..clip(range.end).max(clip(range.start))];
                let place = start + clip(range.start) as u64;
                self.memory
                    .write_slice(part, GuestAddress(place))
                    .expect("it is in the region");
            }
            // SAFETY: the region is mapped for good and has this length; nobody writes to it
            // now, as the input's calls are done and the threads of its rings have ended.
            let now = unsafe { std::slice::from_raw_parts(region.as_ptr(), bytes.len()) };
            // By the C library, and not by a loop that the fuzzer looks into.
            if now != bytes {
                complain(start, bytes, now, allowed);
            }
        }
    }

    /// Puts everything back, whatever has changed.
    pub(crate) fn settle_anything(&self) {
        self.settle(std::slice::from_ref(&(0..u64::MAX)));
    }

    /// Makes all of it zero again, after it has been settled.
    pub(crate) fn reset(&self) {
        let Kept { bytes, put } = &mut *self.kept();
        let regions: Vec<_> = self
            .memory
            .iter()
            .map(|region| region.start_addr())
            .collect();
        for (index, range) in put.drain(..) {
            let place = GuestAddress(regions[index].0 + range.start as u64);
            let zeros = &mut bytes[index][range];
            zeros.fill(0);
            self.memory
                .write_slice(zeros, place)
                .expect("it was put there");
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn complain(address: u64, before: &[u8], now: &[u8], allowed: &[Range<u64>]) -> ! {
    let differs = before
        .iter()
        .zip(now)
        .position(|(before, now)| before != now);
    let place = differs.expect("the two were compared");
    panic!(
        "the byte at {:#x} became {:#x}, and may not change; allowed: {allowed:x?}",
        address + place as u64,
        now[place]
    );
}
