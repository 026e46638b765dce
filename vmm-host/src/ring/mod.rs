// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rings: calls through shared memory, executed by a thread for each ring, with no exit in
//! the steady state.
//!
//! [`HypercallHost::with_rings`](crate::HypercallHost::with_rings) turns them on. The guest
//! sets a ring up by `RING_SETUP`; its thread polls for a while when it has found nothing,
//! then sleeps until the doorbell, and ends with the ring or the VM.
//!
//! Completions are shown a few at a time: a handler that takes long holds up those of the
//! calls just before it as well as those after. Slow work belongs on a thread of its own.
//!
//! | module | is for |
//! |---|---|
//! | `config` | how many, how large, how patient |
//! | `request` | what a guest asks for, checked |
//! | `policy` | what the entries of a ring may call |
//! | `region` | the memory shared with the guest |
//! | `service` | the thread of a ring |
//! | `bell` | how that thread is woken, paused and ended |
//! | `registry` | the rings of a VM |
//! | `wiring` | doorbells and interrupts |

mod bell;
mod config;
#[cfg(feature = "_fuzzing")]
mod inline;
mod interrupts;
mod policy;
mod region;
mod registry;
mod request;
mod service;
mod wiring;

pub use config::RingConfig;
#[cfg(feature = "_fuzzing")]
#[doc(hidden)]
pub use inline::InlineRing;
pub use region::HostRegion;
pub use wiring::{Doorbell, KvmWiring, RingWiring, WiringError};

pub(crate) use registry::{RingRequest, Rings};

use std::fmt;

/// The identifier of a ring among those of its VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RingId(u32);

impl RingId {
    /// The number, as the guest has it from `RING_SETUP`.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for RingId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
