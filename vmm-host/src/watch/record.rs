// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the calls of one number are recorded: by each vCPU and each ring for itself.

use super::report::NumberStats;
use crate::hypercall::{Hypercall, Request};
use crate::stats::{shard_of, SHARDS};
use hcall_abi::{encode_result, HypercallNumber};
use hdrhistogram::Histogram;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// Longest time that is told from longer ones: an hour, in nanoseconds.
const LONGEST: u64 = 3_600_000_000_000;
/// Times are kept to as many decimal digits.
const DIGITS: u8 = 2;

/// The calls of one number.
pub(crate) struct Record {
    /// Made when the vCPU or ring first calls the number: most never do.
    shards: Box<[OnceLock<Box<Shard>>; SHARDS]>,
}

/// What one vCPU or ring has called, on cache lines of its own.
#[repr(align(128))]
struct Shard(Mutex<Sample>);

/// What became of calls, and how long they took.
pub(super) struct Sample {
    pub(super) failed: u64,
    pub(super) panicked: u64,
    /// Nanoseconds in all.
    pub(super) total: u64,
    pub(super) latency: Histogram<u64>,
}

/// What became of a call.
#[derive(Clone, Copy)]
enum Fate {
    Answered,
    Failed,
    Panicked,
}

impl Fate {
    fn of(answer: i64) -> Self {
        if answer < 0 {
            Self::Failed
        } else {
            Self::Answered
        }
    }
}

impl Sample {
    fn new() -> Self {
        Self {
            failed: 0,
            panicked: 0,
            total: 0,
            latency: Histogram::new_with_bounds(1, LONGEST, DIGITS)
                .expect("the bounds are those of a histogram"),
        }
    }

    fn add(&mut self, other: &Self) {
        self.failed += other.failed;
        self.panicked += other.panicked;
        self.total = self.total.saturating_add(other.total);
        self.latency
            .add(&other.latency)
            .expect("all have the same bounds");
    }
}

impl Record {
    /// Records the call that `answer` answers; if it defers the answer, when that is there.
    pub(crate) fn time<'call>(
        self: &Arc<Self>,
        call: &mut Hypercall<'call>,
        answer: impl FnOnce(&mut Hypercall<'call>) -> i64,
    ) -> i64 {
        let start = Instant::now();
        let answer = answer(call);
        let shard = shard_of(call.origin());
        let fate = match call.request.as_deref_mut() {
            Some(Request::Panicked { .. }) => Fate::Panicked,
            Some(Request::Defer(pending)) if answer >= 0 => {
                let record = Arc::clone(self);
                pending.observe(Box::new(move |result| {
                    record.add(shard, start, Fate::of(encode_result(result)));
                }));
                return answer;
            }
            _ => Fate::of(answer),
        };
        self.add(shard, start, fate);
        answer
    }

    /// Adds a call that began at `start` and is answered now.
    fn add(&self, shard: usize, start: Instant, fate: Fate) {
        let elapsed = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut sample = self.shards[shard].get_or_init(Box::default).lock();
        match fate {
            Fate::Answered => {}
            Fate::Failed => sample.failed += 1,
            Fate::Panicked => sample.panicked += 1,
        }
        sample.total = sample.total.saturating_add(elapsed);
        sample.latency.saturating_record(elapsed.max(1));
    }

    /// What has been recorded so far.
    pub(super) fn read(&self, number: HypercallNumber) -> NumberStats {
        let mut sum = Sample::new();
        for shard in self.shards.iter().filter_map(OnceLock::get) {
            sum.add(&shard.lock());
        }
        NumberStats::new(number, sum)
    }
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Sample> {
        // Nothing under the lock can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self(Mutex::new(Sample::new()))
    }
}

impl Default for Record {
    fn default() -> Self {
        Self {
            shards: Box::new([const { OnceLock::new() }; SHARDS]),
        }
    }
}
