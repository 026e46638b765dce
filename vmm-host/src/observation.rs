// SPDX-License-Identifier: MIT OR Apache-2.0
//! Looking at calls from outside of their handlers. Whether a table is observed is decided
//! before anything is registered, and a handler is wrapped when it is: what is not turned on
//! has not one instruction on the path of a call.

use crate::hypercall::{Hypercall, Request};
use crate::table::Answerer;
#[cfg(feature = "watch")]
use crate::watch::{Record, Watch};
use hcall_abi::{encode_result, HypercallNumber};
#[cfg(feature = "watch")]
use std::sync::Arc;
use tracing::Span;

/// How the calls of a table are observed; as it is by default, not at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observation {
    /// Where calls are counted and timed.
    #[cfg(feature = "watch")]
    pub(crate) watch: Option<Arc<Watch>>,
    pub(crate) spans: Spans,
}

/// Whether each call is a span of `tracing`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Spans {
    #[default]
    Off,
    On,
}

/// Who answers a number whose calls are observed.
pub(crate) struct Watched {
    inner: Answerer,
    #[cfg(feature = "watch")]
    record: Option<Arc<Record>>,
    spans: Spans,
}

impl Observation {
    /// `answerer`, observed if anything is.
    #[cfg(feature = "watch")]
    pub(crate) fn wrap(&self, number: HypercallNumber, answerer: Answerer) -> Answerer {
        if self.watch.is_none() && self.spans == Spans::Off {
            return answerer;
        }
        Answerer::Watched(Box::new(Watched {
            inner: answerer,
            record: self.watch.as_ref().map(|watch| watch.record(number)),
            spans: self.spans,
        }))
    }

    /// The same where nothing can be watched but spans.
    #[cfg(not(feature = "watch"))]
    pub(crate) fn wrap(&self, _: HypercallNumber, answerer: Answerer) -> Answerer {
        match self.spans {
            Spans::Off => answerer,
            spans @ Spans::On => Answerer::Watched(Box::new(Watched {
                inner: answerer,
                spans,
            })),
        }
    }
}

impl Watched {
    /// The answer to `call` that `answer` gives for what is watched.
    pub(crate) fn observe<'call>(
        &self,
        call: &mut Hypercall<'call>,
        answer: impl FnOnce(&Answerer, &mut Hypercall<'call>) -> i64,
    ) -> i64 {
        match self.spans {
            Spans::Off => self.record(call, answer),
            Spans::On => {
                let number = call.number();
                let span = tracing::trace_span!("hypercall", %number, origin = ?call.origin());
                span.in_scope(|| {
                    tracing::trace!(arguments = ?call.args(), "called");
                    let answer = self.record(call, answer);
                    trace_answer(&span, call, answer);
                    answer
                })
            }
        }
    }

    #[cfg(feature = "watch")]
    fn record<'call>(
        &self,
        call: &mut Hypercall<'call>,
        answer: impl FnOnce(&Answerer, &mut Hypercall<'call>) -> i64,
    ) -> i64 {
        match &self.record {
            Some(record) => record.time(call, |call| answer(&self.inner, call)),
            None => answer(&self.inner, call),
        }
    }

    #[cfg(not(feature = "watch"))]
    fn record<'call>(
        &self,
        call: &mut Hypercall<'call>,
        answer: impl FnOnce(&Answerer, &mut Hypercall<'call>) -> i64,
    ) -> i64 {
        answer(&self.inner, call)
    }
}

/// Says in the call's span what it is answered: now, or when an answer that is deferred is there.
fn trace_answer(span: &Span, call: &mut Hypercall<'_>, answer: i64) {
    match call.request.as_deref_mut() {
        Some(Request::Defer(pending)) if answer >= 0 => {
            tracing::trace!("deferred");
            let span = span.clone();
            pending.observe(Box::new(move |result| {
                span.in_scope(|| tracing::trace!(answer = encode_result(result), "answered"));
            }));
        }
        _ => tracing::trace!(answer, "answered"),
    }
}
