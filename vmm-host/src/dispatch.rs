// SPDX-License-Identifier: MIT OR Apache-2.0
//! What answers calls, whichever way they came: a vCPU's exit, a batch, or a ring.
//!
//! What every call goes through is inlined into the VMM's loop; what few need is out of line,
//! for right after an exit no code and no data is cached.

use crate::batch;
use crate::disposition::StopReason;
use crate::hypercall::{Cpl, Hypercall, HypercallResult, Request};
use crate::interrupts::Interrupts;
use crate::memory::CopyGuestMemory;
use crate::observation::Watched;
use crate::ring::{RingRequest, Rings};
use crate::stats::{Counters, Outcome, Shard};
use crate::table::{Answerer, Callers, Entry, Handler, HypercallTable, Snapshot};
use hcall_abi::batch::BatchEntry;
use hcall_abi::result::KVM_ENOSYS_RESULT;
use hcall_abi::{encode_result, Errno, HypercallNumber, NumberError};
use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

/// A handler, and around it what gives every call an encoded answer: compiled as one function
/// for each handler, so that neither a `Result` nor what a panic leaves goes through memory.
pub(crate) trait Answer: Send + Sync {
    /// The encoded answer; a failure is counted.
    fn answer(&self, call: &mut Hypercall<'_>) -> i64;
}

impl<H: Handler> Answer for H {
    fn answer(&self, call: &mut Hypercall<'_>) -> i64 {
        // A handler's own state after its panic is the handler's affair (a poisoned lock
        // fails its next call); the call's state is discarded or holds plain values.
        match catch_unwind(AssertUnwindSafe(|| self(call))) {
            Ok(result) => encode(call, result),
            Err(payload) => panicked(call, payload),
        }
    }
}

/// What was decided, encoded, and counted if it is a failure.
#[inline]
fn encode(call: &Hypercall<'_>, result: HypercallResult) -> i64 {
    match result {
        Ok(payload) => encode_result(Ok(payload)),
        Err(errno) => call.fail(Outcome::Failed, errno),
    }
}

/// The answer of a handler that panicked. What else comes of it is decided where requests are
/// granted: see [`Dispatcher::settle`].
#[cold]
fn panicked(call: &mut Hypercall<'_>, payload: Box<dyn Any + Send>) -> i64 {
    let number = call.number();
    let message = message_of(payload);
    tracing::error!(%number, message, "the handler of a hypercall panicked");
    // What the handler asked for before does not count: it did not return.
    call.request = Some(Box::new(Request::Panicked { number, message }));
    call.fail(Outcome::Panicked, Errno::EIO)
}

/// What a panic said.
fn message_of(payload: Box<dyn Any + Send>) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message = text.unwrap_or("a value that is no text").to_owned();
    // A payload is the handler's too, and what its destructor throws is not dropped again.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
    message
}

/// What the panic of a handler does besides that its call is answered −EIO and counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PanicPolicy {
    /// Nothing: the VM goes on.
    #[default]
    Answer,
    /// It ends the VM, with the handler's number and message.
    EndVm,
}

pub(crate) type StopListener = Arc<dyn Fn(StopReason) + Send + Sync>;

/// What answers calls, whichever way they came.
#[derive(Clone)]
pub(crate) struct Dispatcher {
    pub(crate) table: Arc<HypercallTable>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) memory: Arc<dyn CopyGuestMemory>,
    pub(crate) callers: Callers,
    /// None where handlers can give no vCPU an interrupt.
    pub(crate) interrupts: Option<Arc<dyn Interrupts>>,
    pub(crate) on_panic: PanicPolicy,
    /// Who is told that a call through a ring ends the VM.
    pub(crate) stop_listener: Option<StopListener>,
    /// None where rings are not offered, and for the calls that come through one.
    pub(crate) rings: Option<Arc<Rings>>,
}

impl Dispatcher {
    /// The present state of the table.
    pub(crate) fn table(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.table.snapshot()
    }

    /// The same for calls that come through a ring, which must not hold on to the rings.
    pub(crate) fn without_rings(&self) -> Self {
        Self {
            rings: None,
            ..self.clone()
        }
    }

    /// The answer to `call`, for whose number `table` holds `entry`.
    #[inline]
    pub(crate) fn answer(&self, table: &Snapshot, entry: &Entry, call: &mut Hypercall<'_>) -> i64 {
        if is_unprivileged(call.cpl) && !self.admits_processes(entry) {
            return call.fail(Outcome::Refused, Errno::EPERM);
        }
        self.answer_by(&entry.answerer, table, call)
    }

    #[inline]
    fn answer_by(&self, answerer: &Answerer, table: &Snapshot, call: &mut Hypercall<'_>) -> i64 {
        match answerer {
            Answerer::Handler(handler) => handler.answer(call),
            Answerer::Batch => self.answer_batch(table, call),
            Answerer::Ring(request) => self.answer_ring_request(*request, call),
            Answerer::Watched(watched) => self.answer_watched(watched, table, call),
        }
    }

    #[inline(never)]
    fn answer_watched(&self, watched: &Watched, table: &Snapshot, call: &mut Hypercall<'_>) -> i64 {
        watched.observe(call, |answerer, call| self.answer_by(answerer, table, call))
    }

    /// What is left of a handler's request: nothing of a panic, unless that ends the VM.
    #[cold]
    pub(crate) fn settle(&self, request: Request) -> Option<Request> {
        match (request, self.on_panic) {
            (Request::Panicked { .. }, PanicPolicy::Answer) => None,
            (Request::Panicked { number, message }, PanicPolicy::EndVm) => {
                let reason = StopReason::HandlerPanicked { number, message };
                Some(Request::Stop(reason))
            }
            (request, _) => Some(request),
        }
    }

    fn admits_processes(&self, entry: &Entry) -> bool {
        entry.callers.unwrap_or(self.callers) == Callers::AnyPrivilegeLevel
    }

    /// The answer to a number for which the table holds nothing.
    #[cold]
    pub(crate) fn answer_unknown(&self, number: u64, cpl: Option<Cpl>, counters: &Shard) -> i64 {
        let Ok(number) = u32::try_from(number) else {
            return encode_result(Err(Errno::EINVAL));
        };
        if let Err(error) = HypercallNumber::new(number) {
            return answer_unusable(error, counters);
        }
        let (outcome, errno) = if self.callers == Callers::KernelOnly && is_unprivileged(cpl) {
            (Outcome::Refused, Errno::EPERM)
        } else {
            (Outcome::Unknown, Errno::ENOSYS)
        };
        counters.count_outcome(outcome);
        encode_result(Err(errno))
    }

    #[inline(never)]
    fn answer_batch(&self, table: &Snapshot, call: &mut Hypercall<'_>) -> i64 {
        let mut of_entries = call.of_entries();
        let arguments = of_entries.arguments;
        let result = batch::answer_all(self.memory.as_ref(), arguments, |entry| {
            let answer = self.answer_entry(table, entry, &mut of_entries);
            (answer, self.ends_batch(&mut of_entries))
        });
        call.request = of_entries.request.take();
        encode(call, result)
    }

    /// The answer to an entry of the batch that `call` is.
    #[inline]
    fn answer_entry(&self, table: &Snapshot, entry: &BatchEntry, call: &mut Hypercall<'_>) -> i64 {
        call.counters.count_call(call.origin());
        if !entry.is_well_formed() || !batch::admits(entry.number) {
            return call.fail(Outcome::Failed, Errno::EINVAL);
        }
        let Some(found) = table.find(entry.number.into()) else {
            return self.answer_unknown(entry.number.into(), call.cpl, call.counters);
        };
        call.number = found.number;
        call.arguments = entry.arguments;
        self.answer(table, found, call)
    }

    /// Whether the batch ends with the entry that has just been answered, because the VM does.
    #[inline]
    fn ends_batch(&self, call: &mut Hypercall<'_>) -> bool {
        if let Some(request) = call.request.take() {
            call.request = self.settle(*request).map(Box::new);
        }
        call.request.is_some()
    }

    #[cold]
    fn answer_ring_request(&self, request: RingRequest, call: &Hypercall<'_>) -> i64 {
        let result = self
            .rings
            .as_ref()
            .ok_or(Errno::EINVAL)
            .and_then(|rings| rings.answer(request, self, call));
        encode(call, result)
    }
}

/// The answer to a number that is KVM's, Xen's or Hyper-V's.
fn answer_unusable(error: NumberError, counters: &Shard) -> i64 {
    counters.count_unusable();
    if let NumberError::Kvm(_) = error {
        return KVM_ENOSYS_RESULT;
    }
    counters.count_outcome(Outcome::Unknown);
    encode_result(Err(Errno::ENOSYS))
}

/// Whether an exit said that it was no kernel that called.
#[inline]
fn is_unprivileged(cpl: Option<Cpl>) -> bool {
    cpl.is_some_and(|cpl| cpl > Cpl::KERNEL)
}
