// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counters of a VM, written by its vCPUs and rings, read by anybody at any time.

use crate::hypercall::Origin;
use crate::ring::RingId;
use hcall_abi::layout::Stats;
use hcall_abi::Transport;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many vCPUs count apart from each other; others share.
const VCPU_SHARDS: usize = 64;
/// The same of rings.
const RING_SHARDS: usize = 16;
pub(crate) const SHARDS: usize = VCPU_SHARDS + RING_SHARDS;

/// Which of [`SHARDS`] counts the calls of a vCPU or ring.
#[inline]
pub(crate) fn shard_of(origin: Origin) -> usize {
    match origin {
        Origin::Vcpu { id, .. } => vcpu_shard(id),
        Origin::Ring(id) => VCPU_SHARDS + id.get() as usize % RING_SHARDS,
    }
}

#[inline]
fn vcpu_shard(id: u32) -> usize {
    id as usize % VCPU_SHARDS
}

/// Counters since the VM started. Each is exact; together they are read one by one, so
/// calls under way may be in one and not yet in another.
///
/// Every vCPU and every ring has its own, on cache lines of their own: counting would
/// otherwise be the one thing that calls of different vCPUs wait for each other for.
pub struct Counters {
    shards: Box<[Shard; SHARDS]>,
}

/// The counters of one vCPU or ring. Aligned to two cache lines, which processors fetch together.
#[repr(align(128))]
pub(crate) struct Shard {
    by_transport: [AtomicU64; Transport::ALL.len()],
    ring: AtomicU64,
    unknown: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    panicked: AtomicU64,
    unusable: AtomicU64,
}

impl Shard {
    const fn new() -> Self {
        Self {
            by_transport: [const { AtomicU64::new(0) }; Transport::ALL.len()],
            ring: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            panicked: AtomicU64::new(0),
            unusable: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(crate) fn count_call(&self, origin: Origin) {
        let counter = match origin {
            Origin::Vcpu { transport, .. } => &self.by_transport[transport.raw() as usize],
            Origin::Ring(_) => &self.ring,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call whose number belongs to KVM, Xen or Hyper-V.
    pub(crate) fn count_unusable(&self) {
        self.unusable.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_outcome(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Unknown => &self.unknown,
            Outcome::Refused => &self.refused,
            Outcome::Failed => &self.failed,
            Outcome::Panicked => &self.panicked,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// What became of a call, where that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Unknown,
    Refused,
    Failed,
    Panicked,
}

impl Counters {
    /// Those of a vCPU.
    pub(crate) fn of_vcpu(&self, id: u32) -> &Shard {
        &self.shards[vcpu_shard(id)]
    }

    /// Those of a ring.
    pub(crate) fn of_ring(&self, id: RingId) -> &Shard {
        &self.shards[shard_of(Origin::Ring(id))]
    }

    /// Calls from vCPUs, batches included, whose number belongs to KVM, Xen or Hyper-V and
    /// has no handler in any VM. A guest kernel that lets no process make them makes them
    /// only itself, as Linux does if it is shown features of KVM that are not served here.
    pub fn unusable(&self) -> u64 {
        self.shards[..VCPU_SHARDS]
            .iter()
            .map(|shard| shard.unusable.load(Ordering::Relaxed))
            .sum()
    }

    /// Calls that have arrived over `transport`.
    pub fn calls(&self, transport: Transport) -> u64 {
        self.sum(|shard| &shard.by_transport[transport.raw() as usize])
    }

    /// Calls that have arrived through rings.
    pub fn ring_calls(&self) -> u64 {
        self.sum(|shard| &shard.ring)
    }

    /// All counters, as the guest gets them from `STATS`.
    pub fn read(&self) -> Stats {
        let [instruction, carrier, port] = Transport::ALL.map(|transport| self.calls(transport));
        Stats {
            calls: instruction + carrier + port + self.ring_calls(),
            instruction,
            carrier,
            port,
            unknown: self.sum(|shard| &shard.unknown),
            refused: self.sum(|shard| &shard.refused),
            failed: self.sum(|shard| &shard.failed),
            panicked: self.sum(|shard| &shard.panicked),
        }
    }

    fn sum(&self, counter: impl Fn(&Shard) -> &AtomicU64) -> u64 {
        let values = self.shards.iter().map(counter);
        values.map(|value| value.load(Ordering::Relaxed)).sum()
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            shards: Box::new([const { Shard::new() }; SHARDS]),
        }
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(formatter)
    }
}
