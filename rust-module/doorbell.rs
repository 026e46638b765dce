// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! What wakes the host up for a ring: one write, where the host said at set-up.

use crate::abi::ring::{RingSetup, DOORBELL_PORT};
use core::arch::asm;

/// Where to write what.
pub(crate) enum Doorbell {
    /// To an I/O port.
    Port { port: u16, value: u32 },
    /// Somewhere that this module cannot write to.
    Unknown,
}

impl Doorbell {
    /// What the host answered.
    pub(crate) fn new(setup: &RingSetup) -> Self {
        match (setup.doorbell_kind, u16::try_from(setup.doorbell_address)) {
            (DOORBELL_PORT, Ok(port)) => Self::Port {
                port,
                value: setup.doorbell_value,
            },
            _ => Self::Unknown,
        }
    }

    /// Whether [`Doorbell::ring`] can do anything.
    pub(crate) fn is_usable(&self) -> bool {
        !matches!(self, Self::Unknown)
    }

    /// Writes.
    pub(crate) fn ring(&self) {
        if let Self::Port { port, value } = *self {
            // SAFETY: the host named this port as the one that does nothing but wake it up.
            // Not `nomem`: what was written to the ring must be there before.
            unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack)) };
        }
    }
}
