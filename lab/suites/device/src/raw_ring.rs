// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ring of an open file without the SDK in between: any mapping, any word.

use crate::failure::{equal, Check, Failure};
use crate::raw::RawDevice;
use hcall_guest::abi::ioctl::{ProcessRing, RingWait, RING_KICK, RING_SETUP, RING_WAIT};
use hcall_guest::abi::ring::RingLayout;
use hcall_guest::abi::ring_protocol::RingWord;
use rustix::io::{Errno, Result};
use rustix::mm::{mmap, munmap, MapFlags, ProtFlags};
use std::ffi::c_void;
use std::os::fd::AsFd;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Entries of the rings here: two pages.
pub(crate) const ENTRIES: u32 = 64;

impl RawDevice {
    /// `RING_SETUP`.
    pub(crate) fn ring_setup(&self, setup: &mut ProcessRing) -> Result<()> {
        // SAFETY: the kernel accesses `setup` and nothing else.
        unsafe { self.request(RING_SETUP, (&raw mut *setup).expose_provenance()) }
    }

    /// `RING_KICK`.
    pub(crate) fn ring_kick(&self) -> Result<()> {
        // SAFETY: the request has no structure.
        unsafe { self.request(RING_KICK, 0) }
    }

    /// `RING_WAIT`.
    pub(crate) fn ring_wait(&self, seen: u32, timeout: u64) -> Result<()> {
        let mut wait = RingWait {
            seen,
            flags: 0,
            timeout,
        };
        // SAFETY: the kernel reads `wait`.
        unsafe { self.request(RING_WAIT, (&raw mut wait).expose_provenance()) }
    }

    /// A ring of [`ENTRIES`]; what the kernel wrote.
    pub(crate) fn ring(&self) -> std::result::Result<ProcessRing, Failure> {
        let mut setup = setup(ENTRIES);
        self.ring_setup(&mut setup)?;
        equal("the host's answer to RING_SETUP", setup.result, 0)?;
        Ok(setup)
    }
}

/// What asks for a ring.
pub(crate) fn setup(entries: u32) -> ProcessRing {
    ProcessRing {
        entries,
        ..ProcessRing::default()
    }
}

/// A mapping of a file, unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: *mut c_void,
    length: usize,
}

impl Mapping {
    /// Maps so much of the file, in this way.
    pub(crate) fn new(
        file: impl AsFd,
        length: usize,
        access: ProtFlags,
        flags: MapFlags,
        offset: u64,
    ) -> Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe { mmap(ptr::null_mut(), length, access, flags, file, offset)? };
        Ok(Self { start, length })
    }

    /// Maps a ring as it should be.
    pub(crate) fn of(file: impl AsFd, ring: &ProcessRing) -> Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        Self::new(file, ring.bytes as usize, access, MapFlags::SHARED, 0)
    }

    /// Where it begins.
    pub(crate) fn start(&self) -> *mut c_void {
        self.start
    }

    /// Its eight-byte words.
    pub(crate) fn longs(&self) -> &[AtomicU64] {
        let count = self.length / size_of::<u64>();
        // SAFETY: the mapping is page-aligned, of this length, zeroed before it was shared,
        // and accessed by atomics only.
        unsafe { std::slice::from_raw_parts(self.start.cast(), count) }
    }

    /// A word of the ring's header.
    pub(crate) fn word(&self, word: RingWord) -> &AtomicU32 {
        // SAFETY: as in `longs`; the header is in the first page.
        unsafe { AtomicU32::from_ptr(self.start.byte_add(word.offset() as usize).cast()) }
    }

    pub(crate) fn load(&self, word: RingWord) -> u32 {
        self.word(word).load(Ordering::SeqCst)
    }

    pub(crate) fn store(&self, word: RingWord, value: u32) {
        self.word(word).store(value, Ordering::SeqCst);
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing refers to it any more.
        let _ = unsafe { munmap(self.start, self.length) };
    }
}

/// The length of a ring's mapping: its layout in whole pages.
pub(crate) fn mapped_bytes(entries: u32) -> std::result::Result<u64, Failure> {
    let layout = RingLayout::new(entries).ok_or_else(|| Failure::new("no power of two"))?;
    Ok(layout.bytes().next_multiple_of(crate::memory::PAGE as u64))
}

/// Fails unless the mapping is refused in this way.
pub(crate) fn refuses(what: &str, mapping: Result<Mapping>, due: Errno) -> Check {
    equal(what, mapping.map(drop), Err(due))
}
