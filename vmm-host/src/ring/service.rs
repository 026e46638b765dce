// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread of a ring: takes entries, answers them, posts completions; looks for a while
//! when there are none, then sleeps until the doorbell.

use super::bell::{Bell, Turn};
use super::policy::Policy;
use super::RingId;
use crate::confinement::{Confinement, ThreadRole};
use crate::dispatch::Dispatcher;
use crate::hypercall::{Cpl, Hypercall, Mode, Origin, Request};
use crate::origin::Source;
use crate::stats::Outcome;
use crate::table::Snapshot;
use hcall_abi::ring::{RingCompletion, RingEntry, RingLayout, REASON_HOST};
use hcall_abi::ring_protocol::{HostHalf, Notify, Rest, RingDamage, RingMemory, Taken};
use hcall_abi::{encode_result, Errno, HypercallNumber};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};
use vmm_sys_util::eventfd::EventFd;

/// Entries that are answered before their completions are shown: many enough to make the
/// traffic of indices small, few enough that the first does not wait long for the last.
const BURST: u32 = 16;

/// Looks at the ring between two looks at the clock.
const LOOKS: u32 = 64;

/// What serves a ring.
pub(super) struct Service {
    pub(super) id: RingId,
    pub(super) dispatcher: Dispatcher,
    pub(super) policy: Policy,
    /// The privilege level that set the ring up.
    pub(super) cpl: Option<Cpl>,
    /// Its mode.
    pub(super) mode: Option<Mode>,
    pub(super) poll: Duration,
    pub(super) bell: Arc<Bell>,
    pub(super) interrupt: Option<Arc<EventFd>>,
    pub(super) confinement: Confinement,
}

/// Why a burst ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Burst {
    /// There may be more.
    Full,
    /// Nothing more was there.
    Drained,
    /// There is no room for completions.
    NoRoom,
}

impl Service {
    /// Serves the ring in `memory` until it is torn down, or the guest has damaged it.
    pub(super) fn run(&self, memory: impl RingMemory, layout: RingLayout) {
        let mut half = HostHalf::new(memory, layout);
        if let Err(error) = self.confinement.enter(ThreadRole::Ring) {
            tracing::error!(ring = %self.id, %error, "cannot confine the thread of a ring");
            half.break_down(REASON_HOST);
            return;
        }
        // A panic is one of this file's: handlers' are caught at the handler.
        let served = catch_unwind(AssertUnwindSafe(|| self.serve(&mut half)));
        match served {
            Ok(Ok(())) => half.close(),
            Ok(Err(damage)) => {
                tracing::warn!(ring = %self.id, %damage, "a ring is broken");
                half.break_down(damage.reason());
            }
            Err(_) => half.break_down(REASON_HOST),
        }
        // Whoever waits for a completion finds the end.
        self.interrupt();
        self.bell.leave();
    }

    fn serve<M: RingMemory>(&self, half: &mut HostHalf<M>) -> Result<(), RingDamage> {
        while self.bell.attend() == Turn::Serve {
            match self.burst(half)? {
                Burst::Full => {}
                Burst::Drained => self.rest(half)?,
                // The guest has more calls outstanding than it may, and rings when it has
                // made room.
                Burst::NoRoom => self.bell.wait(),
            }
        }
        Ok(())
    }

    /// Answers up to [`BURST`] entries, by one state of the table; fewer if the thread is to do
    /// something else, for which a handler that takes long would be waited for many times.
    pub(super) fn burst<M: RingMemory>(&self, half: &mut HostHalf<M>) -> Result<Burst, RingDamage> {
        let table = self.dispatcher.table();
        let mut end = Ok(Burst::Full);
        for _ in 0..BURST {
            match half.take() {
                Ok(Taken::Entry(entry)) => {
                    let result = self.answer(&table, &entry);
                    half.post(&RingCompletion {
                        user_data: entry.user_data,
                        result,
                        reserved: [0; 2],
                    });
                    if self.bell.is_raised() {
                        break;
                    }
                    continue;
                }
                Ok(Taken::Empty) => end = Ok(Burst::Drained),
                Ok(Taken::NoRoom) => end = Ok(Burst::NoRoom),
                Err(damage) => end = Err(damage),
            }
            break;
        }
        if half.publish() == Notify::Peer {
            self.interrupt();
        }
        end
    }

    /// Looks for entries for as long as the patience lasts, then sleeps.
    fn rest<M: RingMemory>(&self, half: &mut HostHalf<M>) -> Result<(), RingDamage> {
        let start = Instant::now();
        while start.elapsed() < self.poll {
            for _ in 0..LOOKS {
                if half.has_entries()? || self.bell.is_raised() {
                    return Ok(());
                }
                std::hint::spin_loop();
            }
        }
        if half.listen()? == Rest::Sleep {
            self.bell.wait();
        }
        Ok(())
    }

    fn answer(&self, table: &Snapshot, entry: &RingEntry) -> i64 {
        let counters = self.dispatcher.counters.of_ring(self.id);
        counters.count_call(Origin::Ring(self.id));
        let refuse = |outcome, errno| {
            counters.count_outcome(outcome);
            encode_result(Err(errno))
        };
        if !entry.is_well_formed() {
            return refuse(Outcome::Failed, Errno::EINVAL);
        }
        if let Ok(number) = HypercallNumber::new(entry.number) {
            if let Err(errno) = self.policy.check(number) {
                return refuse(Outcome::Refused, errno);
            }
        }
        let Some(found) = table.find(entry.number.into()) else {
            let number = entry.number.into();
            return self.dispatcher.answer_unknown(number, self.cpl, counters);
        };
        let mut call = Hypercall {
            number: found.number,
            arguments: entry.arguments,
            source: Source::Ring(self.id),
            cpl: self.cpl,
            mode: self.mode,
            dispatcher: &self.dispatcher,
            counters,
            request: None,
        };
        let answer = self.dispatcher.answer(table, found, &mut call);
        match call.request {
            None => answer,
            Some(request) => self.answer_requesting(*request, answer),
        }
    }

    /// The answer to a call whose handler asked for the VM's end, which no call through a ring
    /// can bring about, or panicked, which may.
    #[cold]
    fn answer_requesting(&self, request: Request, answer: i64) -> i64 {
        let Request::Panicked { .. } = request else {
            let counters = self.dispatcher.counters.of_ring(self.id);
            counters.count_outcome(Outcome::Failed);
            return encode_result(Err(Errno::EINVAL));
        };
        if let Some(Request::Stop(reason)) = self.dispatcher.settle(request) {
            match &self.dispatcher.stop_listener {
                Some(listener) => listener(reason),
                None => tracing::error!(%reason, "nobody ends the VM for a ring"),
            }
        }
        answer
    }

    fn interrupt(&self) {
        if let Some(event) = &self.interrupt {
            // It fails only where the counter is full: the interrupt is pending.
            let _ = event.write(1);
        }
    }
}
