// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory of a ring by its address in this program.

use core::ptr::NonNull;
use core::sync::atomic::{fence, AtomicU32, AtomicU64, Ordering};
use hcall_abi::ring::{RingCompletion, RingEntry, RingLayout, ALIGNMENT};
use hcall_abi::ring_protocol::{RingMemory, RingWord};

/// The region of a ring, mapped in this program. Every access is atomic, because the host
/// and others may write to it at any time.
#[derive(Debug)]
pub struct RingRegion {
    base: NonNull<u8>,
    layout: RingLayout,
}

// SAFETY: accesses are atomic, and the memory is the region's from any thread (see `new`).
unsafe impl Send for RingRegion {}

impl RingRegion {
    /// The region at `base`.
    ///
    /// # Safety
    ///
    /// `layout.bytes()` bytes from `base` on must be memory that stays mapped, readable and
    /// writable as long as the value lives, and that this program touches by it alone.
    ///
    /// # Panics
    ///
    /// If `base` is not aligned as a ring is.
    pub unsafe fn new(base: NonNull<u8>, layout: RingLayout) -> Self {
        assert_eq!(
            base.addr().get() % ALIGNMENT as usize,
            0,
            "the memory of a ring begins a page"
        );
        Self { base, layout }
    }

    /// Where things are in it.
    pub fn layout(&self) -> RingLayout {
        self.layout
    }

    fn word(&self, word: RingWord) -> &AtomicU32 {
        // SAFETY: words are aligned, and within the header, which is within the region;
        // it is mapped by `new`, and accessed by atomics only.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().add(word.offset() as usize).cast::<u32>()) }
    }

    /// The eight-byte words from `offset` on, which is a multiple of eight.
    fn longs<const COUNT: usize>(&self, offset: u64) -> &[AtomicU64; COUNT] {
        debug_assert!(offset + (COUNT * size_of::<u64>()) as u64 <= self.layout.bytes());
        // SAFETY: `offset` is that of an entry or completion, which `layout` places within
        // the region; as in `word`. An array of atomics is laid out as one of integers.
        unsafe {
            &*self
                .base
                .as_ptr()
                .add(offset as usize)
                .cast::<[AtomicU64; COUNT]>()
        }
    }

    fn read<const COUNT: usize>(&self, offset: u64) -> [u64; COUNT] {
        self.longs(offset)
            .each_ref()
            .map(|long| long.load(Ordering::Relaxed))
    }

    fn write<const COUNT: usize>(&self, offset: u64, words: [u64; COUNT]) {
        for (place, word) in self.longs::<COUNT>(offset).iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
    }
}

impl RingMemory for RingRegion {
    #[inline]
    fn load_relaxed(&self, word: RingWord) -> u32 {
        self.word(word).load(Ordering::Relaxed)
    }

    #[inline]
    fn load_acquire(&self, word: RingWord) -> u32 {
        self.word(word).load(Ordering::Acquire)
    }

    #[inline]
    fn store_relaxed(&self, word: RingWord, value: u32) {
        self.word(word).store(value, Ordering::Relaxed);
    }

    #[inline]
    fn store_release(&self, word: RingWord, value: u32) {
        self.word(word).store(value, Ordering::Release);
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
