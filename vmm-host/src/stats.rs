// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counters of a VM, written by its vCPUs, read by anybody at any time.

use hcall_abi::layout::Stats;
use hcall_abi::Transport;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the VM started. Each is exact; together they are read one by one, so
/// calls under way may be in one and not yet in another.
#[derive(Debug, Default)]
pub struct Counters {
    by_transport: [AtomicU64; Transport::ALL.len()],
    ring: AtomicU64,
    unknown: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    panicked: AtomicU64,
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
    pub(crate) fn count_call(&self, transport: Transport) {
        self.transport(transport).fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_ring_call(&self) {
        self.ring.fetch_add(1, Ordering::Relaxed);
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

    /// Calls that have arrived over `transport`.
    pub fn calls(&self, transport: Transport) -> u64 {
        self.transport(transport).load(Ordering::Relaxed)
    }

    /// Calls that have arrived through rings.
    pub fn ring_calls(&self) -> u64 {
        self.ring.load(Ordering::Relaxed)
    }

    /// All counters, as the guest gets them from `STATS`.
    pub fn read(&self) -> Stats {
        let [instruction, carrier, port] = Transport::ALL.map(|transport| self.calls(transport));
        Stats {
            calls: instruction + carrier + port + self.ring_calls(),
            instruction,
            carrier,
            port,
            unknown: self.unknown.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            panicked: self.panicked.load(Ordering::Relaxed),
        }
    }

    fn transport(&self, transport: Transport) -> &AtomicU64 {
        &self.by_transport[transport.raw() as usize]
    }
}
