// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory of a ring, shared with the guest. Every access is atomic, because the guest
//! may write to it at any time, and bounds-checked.

use hcall_abi::ring::{RingCompletion, RingEntry, RingLayout};
use hcall_abi::ring_protocol::{RingMemory, RingWord};
use hcall_abi::{Errno, Gpa};
use std::fmt;
use std::sync::atomic::{fence, AtomicU32, AtomicU64, Ordering};
use vm_memory::bitmap::{BitmapSlice, MS};
use vm_memory::{AtomicInteger, GuestAddress, GuestMemory, VolatileMemory, VolatileSlice};

/// The region of a ring in guest memory.
pub struct HostRegion<'memory, B> {
    slice: VolatileSlice<'memory, B>,
    layout: RingLayout,
}

/// The region in `memory` that begins at `gpa`.
///
/// # Errors
///
/// EFAULT if it is not all in one region of guest memory.
pub(super) fn find<M: GuestMemory>(
    memory: &M,
    gpa: Gpa,
    layout: RingLayout,
) -> Result<HostRegion<'_, MS<'_, M>>, Errno> {
    let length = usize::try_from(layout.bytes()).map_err(|_| Errno::EFAULT)?;
    memory
        .get_slice(GuestAddress(gpa.get()), length)
        .ok()
        .and_then(|slice| HostRegion::new(slice, layout))
        .ok_or(Errno::EFAULT)
}

impl<'memory, B: BitmapSlice> HostRegion<'memory, B> {
    /// The region that is `slice`; `None` if that is too short, or not aligned to words in
    /// the host's memory.
    pub fn new(slice: VolatileSlice<'memory, B>, layout: RingLayout) -> Option<Self> {
        let is_long_enough = slice.len() as u64 >= layout.bytes();
        let is_aligned = slice.get_atomic_ref::<AtomicU64>(0).is_ok();
        (is_long_enough && is_aligned).then_some(Self { slice, layout })
    }

    fn atomic<T: AtomicInteger>(&self, offset: u64) -> &T {
        self.slice
            .get_atomic_ref(offset as usize)
            .expect("the layout places everything aligned within the region")
    }

    fn read<const COUNT: usize>(&self, offset: u64) -> [u64; COUNT] {
        let mut words = [0; COUNT];
        for (place, word) in (offset..).step_by(size_of::<u64>()).zip(&mut words) {
            *word = self.atomic::<AtomicU64>(place).load(Ordering::Relaxed);
        }
        words
    }

    fn write<const COUNT: usize>(&self, offset: u64, words: [u64; COUNT]) {
        for (place, word) in (offset..).step_by(size_of::<u64>()).zip(words) {
            self.atomic::<AtomicU64>(place)
                .store(word, Ordering::Relaxed);
        }
        self.mark(offset, COUNT * size_of::<u64>());
    }

    fn store(&self, word: RingWord, value: u32, order: Ordering) {
        self.atomic::<AtomicU32>(word.offset()).store(value, order);
        self.mark(word.offset(), size_of::<u32>());
    }

    /// For whoever keeps track of memory that the host has written.
    fn mark(&self, offset: u64, length: usize) {
        self.slice.bitmap().mark_dirty(offset as usize, length);
    }
}

impl<B: BitmapSlice> RingMemory for HostRegion<'_, B> {
    #[inline]
    fn load_relaxed(&self, word: RingWord) -> u32 {
        self.atomic::<AtomicU32>(word.offset())
            .load(Ordering::Relaxed)
    }

    #[inline]
    fn load_acquire(&self, word: RingWord) -> u32 {
        self.atomic::<AtomicU32>(word.offset())
            .load(Ordering::Acquire)
    }

    #[inline]
    fn store_relaxed(&self, word: RingWord, value: u32) {
        self.store(word, value, Ordering::Relaxed);
    }

    #[inline]
    fn store_release(&self, word: RingWord, value: u32) {
        self.store(word, value, Ordering::Release);
    }

    #[inline]
    fn fence(&self) {
        fence(Ordering::SeqCst);
    }

    #[inline]
    fn read_entry(&self, index: u32) -> RingEntry {
        RingEntry::from_words(self.read(self.layout.submission(index)))
    }

    #[inline]
    fn write_entry(&self, index: u32, entry: &RingEntry) {
        self.write(self.layout.submission(index), entry.to_words());
    }

    #[inline]
    fn read_completion(&self, index: u32) -> RingCompletion {
        RingCompletion::from_words(self.read(self.layout.completion(index)))
    }

    #[inline]
    fn write_completion(&self, index: u32, completion: &RingCompletion) {
        self.write(self.layout.completion(index), completion.to_words());
    }
}

impl<B> fmt::Debug for HostRegion<'_, B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HostRegion")
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}
