// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that requests point into, mapped twice: where the kernel is sent to, pages come and
//! go and change their protection; where this program itself reads and writes, they stay. So
//! nothing that is done to the one can end the process by a signal.

use super::random::Random;
use crate::failure::Failure;
use crate::memory::PAGE;
use hcall_guest::abi::ioctl::BUFFER_MAX;
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
use rustix::mm::{mmap, mmap_anonymous, mprotect, munmap, MapFlags, MprotectFlags, ProtFlags};
use std::ffi::c_void;
use std::os::fd::OwnedFd;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Pages of the arena. Behind them is nothing, for as long as the longest buffer is.
pub(super) const PAGES: usize = 24;
/// Its bytes.
pub(super) const BYTES: usize = PAGES * PAGE;

/// Where the kernel is sent to: far from all else that a process has, in the middle between
/// program and libraries, so that an address with a few bits flipped is not this program's
/// stack, which it would have the kernel write over, and die of.
const TARGET: usize = 0x2a2a_0000_0000;

const WORD: usize = size_of::<u64>();
const READ_WRITE: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

/// The memory; unmapped with the process.
#[derive(Debug)]
pub(super) struct Arena {
    memory: OwnedFd,
    /// Where the kernel is sent to.
    target: *mut c_void,
    /// The same memory, for ourselves.
    own: *mut c_void,
}

// SAFETY: the memory is accessed by atomics only, and the mappings belong to no thread.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    pub(super) fn new() -> Result<Self, Failure> {
        let memory = memfd_create(c"arena", MemfdFlags::CLOEXEC)?;
        ftruncate(&memory, BYTES as u64)?;
        // SAFETY: new mappings that overlap nothing; what `restore_all` maps over the first is
        // its beginning.
        let (target, own) = unsafe {
            (
                mmap_anonymous(
                    ptr::without_provenance_mut(TARGET),
                    BYTES + BUFFER_MAX as usize,
                    ProtFlags::empty(),
                    MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE,
                )?,
                mmap(
                    ptr::null_mut(),
                    BYTES,
                    READ_WRITE,
                    MapFlags::SHARED,
                    &memory,
                    0,
                )?,
            )
        };
        let arena = Self {
            memory,
            target,
            own,
        };
        arena.restore_all()?;
        Ok(arena)
    }

    /// The address of a byte, for the kernel.
    pub(super) fn address(&self, offset: usize) -> usize {
        self.target.expose_provenance() + offset
    }

    /// The words, for ourselves.
    pub(super) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, of this length, initialized by the kernel, and
        // accessed by atomics only.
        unsafe { std::slice::from_raw_parts(self.own.cast(), BYTES / WORD) }
    }

    /// Writes `bytes`, whole words from a whole word on, as far as there is room.
    pub(super) fn write(&self, offset: usize, bytes: &[u8]) {
        let places = self.words().iter().skip(offset / WORD);
        for (place, word) in places.zip(bytes.chunks_exact(WORD)) {
            let word = word.try_into().map_or(0, u64::from_ne_bytes);
            place.store(word, Ordering::Relaxed);
        }
    }

    /// Does something to a page where the kernel is sent to.
    pub(super) fn disturb(&self, random: &mut Random) {
        let offset = random.below(PAGES) * PAGE;
        let page = self.target.wrapping_byte_add(offset);
        // SAFETY: the page is the arena's, and nothing of this program refers to it.
        let done = unsafe {
            match random.below(6) {
                0 => munmap(page, PAGE),
                1 => mprotect(page, PAGE, MprotectFlags::empty()),
                2 => mprotect(page, PAGE, MprotectFlags::READ),
                3 => mmap_anonymous(page, PAGE, READ_WRITE, MapFlags::PRIVATE | MapFlags::FIXED)
                    .map(drop),
                _ => self.restore(offset, PAGE),
            }
        };
        // What was unmapped has no protection to change.
        let _ = done;
    }

    /// Maps everything as it was.
    pub(super) fn restore_all(&self) -> rustix::io::Result<()> {
        self.restore(0, BYTES)
    }

    fn restore(&self, offset: usize, length: usize) -> rustix::io::Result<()> {
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        let start = self.target.wrapping_byte_add(offset);
        // SAFETY: these pages are the arena's, and nothing of this program refers to them.
        unsafe {
            mmap(
                start,
                length,
                READ_WRITE,
                flags,
                &self.memory,
                offset as u64,
            )
            .map(drop)
        }
    }
}
