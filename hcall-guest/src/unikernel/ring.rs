// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rings in a unikernel's own memory.
//!
//! ```ignore
//! use hcall_guest::unikernel::ring::{RingSpace, UnikernelRing};
//!
//! static MEMORY: RingSpace<4096> = RingSpace::new();
//!
//! let mut ring = UnikernelRing::set_up(&MEMORY, 32)?;
//! ring.submit(GREET, [2, 40, 0, 0], 0)?;
//! ring.flush();
//! ```

use crate::ring::{PortDoorbell, Ring, RingLayout, RingRegion, RingStatus};
use crate::{core_calls, Error, Gpa};
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};
use hcall_abi::ring::RingSetup;

/// Memory for one ring: a `static` of as many bytes as [`RingLayout::bytes`] says.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct RingSpace<const BYTES: usize> {
    bytes: UnsafeCell<[u8; BYTES]>,
    in_use: AtomicBool,
}

// SAFETY: `in_use` hands the bytes to one ring at a time, which alone touches them.
unsafe impl<const BYTES: usize> Sync for RingSpace<BYTES> {}

impl<const BYTES: usize> RingSpace<BYTES> {
    /// Memory that no ring uses.
    pub const fn new() -> Self {
        Self {
            bytes: UnsafeCell::new([0; BYTES]),
            in_use: AtomicBool::new(false),
        }
    }
}

impl<const BYTES: usize> Default for RingSpace<BYTES> {
    fn default() -> Self {
        Self::new()
    }
}

/// Why there is no ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingError {
    /// The number of entries is no power of two.
    Entries(u32),
    /// The memory is too small; so many bytes are needed.
    Memory(u64),
    /// Another ring uses the memory.
    InUse,
    /// The host refused.
    Host(Error),
    /// The host gave the ring a doorbell of another kind than a port.
    Doorbell(u32),
}

impl core::fmt::Display for RingError {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Entries(entries) => {
                write!(formatter, "{entries} entries: give a ring a power of two")
            }
            Self::Memory(bytes) => write!(formatter, "the ring needs {bytes} bytes of memory"),
            Self::InUse => formatter.write_str("another ring uses this memory"),
            Self::Host(error) => write!(formatter, "the host set up no ring: {error}"),
            Self::Doorbell(kind) => write!(
                formatter,
                "the host gave the ring a doorbell of kind {kind}, which is no port"
            ),
        }
    }
}

impl core::error::Error for RingError {}

/// A ring of this unikernel; dropped, it is torn down.
#[derive(Debug)]
pub struct UnikernelRing {
    ring: Ring<PortDoorbell>,
    id: u64,
    in_use: &'static AtomicBool,
}

impl UnikernelRing {
    /// Sets up a ring of `entries` in `memory`, with every number admitted and no
    /// interrupt.
    ///
    /// # Errors
    ///
    /// [`RingError`]
    pub fn set_up<const BYTES: usize>(
        memory: &'static RingSpace<BYTES>,
        entries: u32,
    ) -> Result<Self, RingError> {
        Self::set_up_as(memory, entries, RingSetup::default())
    }

    /// As [`set_up`](Self::set_up), with the flags, ranges and interrupt of `wanted`.
    ///
    /// # Errors
    ///
    /// [`RingError`]
    pub fn set_up_as<const BYTES: usize>(
        memory: &'static RingSpace<BYTES>,
        entries: u32,
        wanted: RingSetup,
    ) -> Result<Self, RingError> {
        let layout = RingLayout::new(entries).ok_or(RingError::Entries(entries))?;
        if layout.bytes() > BYTES as u64 {
            return Err(RingError::Memory(layout.bytes()));
        }
        if memory.in_use.swap(true, Ordering::Acquire) {
            return Err(RingError::InUse);
        }
        let ring = ring_in(memory, layout, wanted);
        if ring.is_err() {
            memory.in_use.store(false, Ordering::Release);
        }
        ring
    }

    /// The host's identifier of the ring.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Takes the next answer; waits for it without sleeping.
    ///
    /// # Errors
    ///
    /// The status of a ring that the host serves no more, so that none will come.
    pub fn wait(&mut self) -> Result<crate::ring::Answer, RingStatus> {
        loop {
            // In this order: the last answer may come together with the end.
            let status = self.ring.status();
            if let Some(answer) = self.ring.complete() {
                return Ok(answer);
            }
            if status != RingStatus::Running {
                return Err(status);
            }
            core::hint::spin_loop();
        }
    }
}

fn ring_in<const BYTES: usize>(
    memory: &'static RingSpace<BYTES>,
    layout: RingLayout,
    wanted: RingSetup,
) -> Result<UnikernelRing, RingError> {
    let base = NonNull::from(&memory.bytes).cast::<u8>();
    let mut setup = RingSetup {
        gpa: base.as_ptr().expose_provenance() as u64,
        bytes: layout.bytes(),
        entries: layout.entries(),
        ..wanted
    };
    let gpa = Gpa::new((&raw mut setup).expose_provenance() as u64);
    // SAFETY: a unikernel's memory is mapped to itself; the host writes the structure,
    // which is borrowed here, and from now on the memory, which is this ring's.
    let id = unsafe { core_calls::ring_setup(gpa, size_of::<RingSetup>() as u64) }
        .map_err(RingError::Host)?;
    // SAFETY: the host has filled the structure in; a unikernel is at CPL 0.
    let Some(doorbell) = (unsafe { PortDoorbell::of(&setup) }) else {
        // It would be an error of the host to refuse what it has just set up.
        let _ = core_calls::ring_teardown(id);
        return Err(RingError::Doorbell(setup.doorbell_kind));
    };
    // SAFETY: a static is never unmapped; its bytes are this ring's by `in_use`, and enough.
    let region = unsafe { RingRegion::new(base, layout) };
    Ok(UnikernelRing {
        ring: Ring::new(region, doorbell),
        id,
        in_use: &memory.in_use,
    })
}

impl Deref for UnikernelRing {
    type Target = Ring<PortDoorbell>;

    fn deref(&self) -> &Self::Target {
        &self.ring
    }
}

impl DerefMut for UnikernelRing {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.ring
    }
}

impl Drop for UnikernelRing {
    fn drop(&mut self) {
        // A host that refuses may still write to the memory: it is used no more.
        if core_calls::ring_teardown(self.id).is_ok() {
            self.in_use.store(false, Ordering::Release);
        }
    }
}
