// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a sleeping host is woken.

use crate::arch;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};
use hcall_abi::ring::{RingSetup, DOORBELL_PORT};

/// Rings a ring's doorbell.
pub trait Doorbell {
    /// What comes of it: an error where a system call stands between.
    type Rung;

    /// Wakes the host.
    fn ring(&self) -> Self::Rung;
}

/// An I/O port; for code at CPL 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortDoorbell {
    port: u16,
    value: u32,
}

impl PortDoorbell {
    /// The doorbell that the host has put into `setup`, if it is a port.
    ///
    /// # Safety
    ///
    /// `setup` must come from the host, and the caller be at CPL 0 of its guest: a write
    /// to another port can do anything.
    pub unsafe fn of(setup: &RingSetup) -> Option<Self> {
        if setup.doorbell_kind != DOORBELL_PORT {
            return None;
        }
        Some(Self {
            port: u16::try_from(setup.doorbell_address).ok()?,
            value: setup.doorbell_value,
        })
    }
}

impl Doorbell for PortDoorbell {
    type Rung = ();

    #[inline]
    fn ring(&self) {
        // SAFETY: the host named this port for this value (see `of`).
        unsafe { arch::write_port(self.port, self.value) }
    }
}

/// A word of device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryDoorbell {
    address: NonNull<u32>,
    value: u32,
}

// SAFETY: the address is device memory, which any CPU may write at any time.
unsafe impl Send for MemoryDoorbell {}

impl MemoryDoorbell {
    /// The doorbell at `address`, where the memory of the `RingSetup`'s is mapped, with its
    /// value.
    ///
    /// # Safety
    ///
    /// `address` must stay mapped and aligned, and nothing but the doorbell be there.
    pub unsafe fn new(address: NonNull<u32>, value: u32) -> Self {
        Self { address, value }
    }
}

impl Doorbell for MemoryDoorbell {
    type Rung = ();

    #[inline]
    fn ring(&self) {
        // SAFETY: mapped and aligned, by `new`; atomics are one access of four bytes.
        let word = unsafe { AtomicU32::from_ptr(self.address.as_ptr()) };
        word.store(self.value, Ordering::Release);
    }
}
