// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where calls come from.

use crate::ring::RingId;
use crate::vcpu::Vcpu;
use hcall_abi::{Errno, Transport};

/// Where a call came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// A vCPU has left the guest for it, and waits.
    Vcpu {
        /// The vCPU's identifier.
        id: u32,
        /// How the call came.
        transport: Transport,
    },
    /// A ring; no vCPU waits, and none can be asked anything.
    Ring(RingId),
}

/// Where a call came from, with the vCPU if there is one.
pub(crate) enum Source<'call> {
    /// An exit for this call alone.
    Vcpu {
        vcpu: &'call mut dyn Vcpu,
        id: u32,
        transport: Transport,
    },
    /// An entry of a batch.
    Batch {
        vcpu: &'call mut dyn Vcpu,
        id: u32,
        transport: Transport,
    },
    Ring(RingId),
}

impl Source<'_> {
    pub(crate) fn origin(&self) -> Origin {
        match self {
            Self::Vcpu { id, transport, .. } | Self::Batch { id, transport, .. } => Origin::Vcpu {
                id: *id,
                transport: *transport,
            },
            Self::Ring(ring) => Origin::Ring(*ring),
        }
    }

    /// The vCPU, or what a handler is told that needs one.
    pub(crate) fn vcpu(&self) -> Result<&dyn Vcpu, Errno> {
        match self {
            Self::Vcpu { vcpu, .. } | Self::Batch { vcpu, .. } => Ok(&**vcpu),
            Self::Ring(_) => Err(Errno::EOPNOTSUPP),
        }
    }

    pub(crate) fn vcpu_mut(&mut self) -> Result<&mut dyn Vcpu, Errno> {
        match self {
            Self::Vcpu { vcpu, .. } | Self::Batch { vcpu, .. } => Ok(&mut **vcpu),
            Self::Ring(_) => Err(Errno::EOPNOTSUPP),
        }
    }

    /// That of the entries, where this is a batch's.
    pub(crate) fn of_entries(&mut self) -> Source<'_> {
        match self {
            Self::Vcpu {
                vcpu,
                id,
                transport,
            }
            | Self::Batch {
                vcpu,
                id,
                transport,
            } => Source::Batch {
                vcpu: &mut **vcpu,
                id: *id,
                transport: *transport,
            },
            Self::Ring(ring) => Source::Ring(*ring),
        }
    }
}
