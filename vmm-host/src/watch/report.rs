// SPDX-License-Identifier: MIT OR Apache-2.0
//! What was recorded of a number, as people and programs read it.

use super::record::Sample;
use hcall_abi::HypercallNumber;
use std::fmt;
use std::time::Duration;

/// What was recorded of a number up to some moment. Times are exact to about a hundredth.
pub struct NumberStats {
    number: HypercallNumber,
    sample: Sample,
}

impl NumberStats {
    pub(super) fn new(number: HypercallNumber, sample: Sample) -> Self {
        Self { number, sample }
    }

    /// The number.
    pub fn number(&self) -> HypercallNumber {
        self.number
    }

    /// Calls that its handlers answered. Those that never came to one are in
    /// [`Counters`](crate::stats::Counters) only: of unknown numbers, or refused.
    pub fn calls(&self) -> u64 {
        self.sample.latency.len()
    }

    /// Calls that were answered with an errno, panics aside.
    pub fn failed(&self) -> u64 {
        self.sample.failed
    }

    /// Calls whose handler panicked.
    pub fn panicked(&self) -> u64 {
        self.sample.panicked
    }

    /// The time that the share `quantile` of the calls, 0 to 1, did not exceed.
    pub fn latency(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.sample.latency.value_at_quantile(quantile))
    }

    /// The longest that a call took.
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.sample.latency.max())
    }

    /// What all calls took together.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.sample.total)
    }

    /// Calls that took no longer than `limit`.
    pub fn calls_within(&self, limit: Duration) -> u64 {
        let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        self.sample.latency.count_between(0, limit)
    }
}

impl fmt::Debug for NumberStats {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("NumberStats")
            .field("number", &self.number)
            .field("calls", &self.calls())
            .field("failed", &self.failed())
            .field("panicked", &self.panicked())
            .field("longest", &self.longest())
            .finish_non_exhaustive()
    }
}

/// A table for people, a line for each number; times in nanoseconds.
#[derive(Debug)]
pub struct StatsTable<'a>(pub &'a [NumberStats]);

impl fmt::Display for StatsTable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:<10} {:<13} {:>12} {:>10} {:>8} {:>9} {:>9} {:>9} {:>11}",
            "number", "name", "calls", "failed", "panicked", "p50", "p99", "p99.9", "max [ns]"
        )?;
        for stats in self.0 {
            let [median, p99, p999] =
                [0.5, 0.99, 0.999].map(|quantile| stats.latency(quantile).as_nanos());
            write!(
                formatter,
                "\n{:<10} {:<13} {:>12} {:>10} {:>8} {median:>9} {p99:>9} {p999:>9} {:>11}",
                format!("{}", stats.number),
                stats.number.name().unwrap_or("-"),
                stats.calls(),
                stats.failed(),
                stats.panicked(),
                stats.longest().as_nanos(),
            )?;
        }
        Ok(())
    }
}
