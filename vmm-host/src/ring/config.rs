// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many rings a VM may have, how large, and how long their threads look by themselves.

use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::Duration;

/// Limits and patience of a VM's rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingConfig {
    /// Most rings at a time.
    pub rings: u32,
    /// Most entries of a ring.
    pub entries: u32,
    /// How long a thread that finds nothing looks again and again before it sleeps.
    pub poll: Duration,
}

impl Default for RingConfig {
    /// 16 rings of up to 1024 entries; 100 µs where the thread has a processor to itself,
    /// nothing where it would only keep the guest from running.
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, NonZero::get);
        Self {
            rings: 16,
            entries: 1024,
            poll: if processors > 1 {
                Duration::from_micros(100)
            } else {
                Duration::ZERO
            },
        }
    }
}
