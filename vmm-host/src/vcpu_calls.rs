// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls of one vCPU, from the exit to the answer that KVM takes at the next KVM_RUN.

use crate::decode::{self, DecodedCall};
use crate::deferred::ReadyAnswer;
use crate::dispatch::Dispatcher;
use crate::disposition::Disposition;
use crate::hypercall::{Hypercall, Mode, Origin, Request, Vcpu};
use crate::origin::Source;
use crate::stats::{Outcome, Shard};
use crate::table::{Entry, Snapshot, TableCache};
use hcall_abi::result::MAX_PAYLOAD_32;
use hcall_abi::{encode_result, encode_result_32, Errno, Transport, TransportSet};
use kvm_bindings::{kvm_run, KVM_EXIT_HYPERCALL, KVM_EXIT_XEN, KVM_SYNC_X86_REGS};
use kvm_ioctls::VcpuExit;
use std::fmt;

/// The calls of one vCPU, on its thread: it remembers the table, so that a call finds its
/// handler with no more than a look whether the table is still the same.
///
/// What it remembers lives on: the handlers that were removed from the table are dropped
/// when every vCPU has made its next call, or its `VcpuCalls` is gone.
pub struct VcpuCalls<'host> {
    vcpu: CallingVcpu<'host>,
    table: TableCache<'host>,
}

impl<'host> VcpuCalls<'host> {
    pub(crate) fn new(dispatcher: &'host Dispatcher, offered: TransportSet, vcpu_id: u32) -> Self {
        Self {
            vcpu: CallingVcpu {
                dispatcher,
                offered,
                id: vcpu_id,
                counters: dispatcher.counters.of_vcpu(vcpu_id),
            },
            table: dispatcher.table.cache(),
        }
    }

    /// As [`HypercallHost::recognise`](crate::HypercallHost::recognise).
    #[inline]
    pub fn recognise(&self, exit: &VcpuExit<'_>) -> Option<Transport> {
        decode::recognise(exit, self.vcpu.offered)
    }

    /// As [`HypercallHost::dispatch`](crate::HypercallHost::dispatch).
    #[inline]
    pub fn dispatch(&mut self, vcpu: &mut impl Vcpu, transport: Transport) -> Disposition {
        let table = self.table.load();
        let caller = &self.vcpu;
        let run = vcpu.kvm_run();
        let transport = decode::distinguish(run, transport, caller.offered);
        let Some(asked) = decode::decode(run, transport) else {
            return Disposition::Resume;
        };
        caller.counters.count_call(caller.origin(transport));
        match table.find_own(asked.number) {
            Some(entry) => caller.answer(table, entry, asked, vcpu, transport),
            None => caller.answer_other(table, vcpu, transport),
        }
    }

    /// Puts in place what [`Disposition::Wait`] waited for; `vcpu`, which has not been run
    /// since, may then run.
    ///
    /// # Panics
    ///
    /// If the call was another vCPU's.
    pub fn complete(&mut self, vcpu: &mut impl Vcpu, answer: ReadyAnswer) {
        assert_eq!(
            answer.caller.vcpu_id, self.vcpu.id,
            "an answer goes to the vCPU that made the call"
        );
        let encoded = self.vcpu.encode(&answer, vcpu);
        answer_vcpu(vcpu.kvm_run(), encoded);
        if let Some(observer) = answer.observer {
            observer(answer.result);
        }
        // Last, for it may unload a plugin.
        drop(answer.kept);
    }
}

impl fmt::Debug for VcpuCalls<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("VcpuCalls")
            .field("vcpu_id", &self.vcpu.id)
            .finish_non_exhaustive()
    }
}

/// A vCPU as a caller, with what every call needs at hand.
struct CallingVcpu<'host> {
    dispatcher: &'host Dispatcher,
    offered: TransportSet,
    id: u32,
    counters: &'host Shard,
}

impl CallingVcpu<'_> {
    fn origin(&self, transport: Transport) -> Origin {
        Origin::Vcpu {
            id: self.id,
            transport,
        }
    }

    /// Compiled into the VMM's loop for its kind of vCPU: a few instructions around the
    /// handler.
    #[inline]
    fn answer(
        &self,
        table: &Snapshot,
        entry: &Entry,
        asked: DecodedCall,
        vcpu: &mut impl Vcpu,
        transport: Transport,
    ) -> Disposition {
        let dispatcher = self.dispatcher;
        let mut call = Hypercall {
            number: entry.number,
            arguments: asked.arguments,
            source: Source::Vcpu {
                vcpu: &mut *vcpu,
                id: self.id,
                transport,
            },
            cpl: asked.cpl,
            mode: asked.mode,
            dispatcher,
            counters: self.counters,
            request: None,
        };
        let answer = dispatcher.answer(table, entry, &mut call);
        let answer = fit(answer, &call);
        let request = call.request;
        answer_vcpu(vcpu.kvm_run(), answer);
        match request {
            None => Disposition::Resume,
            Some(request) => match dispatcher.settle(*request) {
                None => Disposition::Resume,
                Some(request) => grant(request, answer, vcpu.kvm_run()),
            },
        }
    }

    /// The answer that was deferred, as far as it needs nothing but the caller.
    fn encode(&self, answer: &ReadyAnswer, vcpu: &impl Vcpu) -> i64 {
        if answer.result.is_err() {
            self.counters.count_outcome(Outcome::Failed);
        }
        let encoded = encode_result(answer.result);
        if encoded <= MAX_PAYLOAD_32 as i64 {
            return encoded;
        }
        let mode = match answer.caller.mode {
            Some(mode) => Ok(mode),
            None => vcpu.mode().map_err(|_| Errno::EIO),
        };
        fit_mode(encoded, mode)
    }

    /// The same of a number outside hcall's own ranges, or one that nobody answers. Out of
    /// line, and decoding the call anew, so that the loop keeps nothing for its sake.
    #[inline(never)]
    fn answer_other(
        &self,
        table: &Snapshot,
        vcpu: &mut impl Vcpu,
        transport: Transport,
    ) -> Disposition {
        let run = vcpu.kvm_run();
        let Some(asked) = decode::decode(run, transport) else {
            return Disposition::Resume;
        };
        if let Some(entry) = table.find(asked.number) {
            return self.answer(table, entry, asked, vcpu, transport);
        }
        let answer = self
            .dispatcher
            .answer_unknown(asked.number, asked.cpl, self.counters);
        answer_vcpu(run, answer);
        Disposition::Resume
    }
}

/// The answer as the caller's result register can hold it.
#[inline]
fn fit(answer: i64, call: &Hypercall<'_>) -> i64 {
    if answer > MAX_PAYLOAD_32 as i64 {
        return fit_large(answer, call);
    }
    answer
}

/// The same of a payload that depends on the caller's mode, for which KVM is asked where the
/// exit did not tell it.
#[cold]
fn fit_large(payload: i64, call: &Hypercall<'_>) -> i64 {
    fit_mode(payload, call.mode())
}

/// The same, where the mode is known.
fn fit_mode(payload: i64, mode: Result<Mode, Errno>) -> i64 {
    match mode {
        Ok(Mode::Bits64) => payload,
        Ok(Mode::Bits32) => encode_result_32(Ok(payload as u64)).into(),
        Err(errno) => encode_result(Err(errno)),
    }
}

/// Puts `answer` where KVM takes it from at the next KVM_RUN.
#[inline]
fn answer_vcpu(run: &mut kvm_run, answer: i64) {
    match run.exit_reason {
        // KVM stores the result to rax and skips the instruction, as long as rip has not
        // been changed (`kvm_xen_hypercall_complete_userspace`).
        KVM_EXIT_XEN => run.__bindgen_anon_1.xen.u.hcall.result = answer as u64,
        // The same (`complete_hypercall_exit`).
        KVM_EXIT_HYPERCALL => run.__bindgen_anon_1.hypercall.ret = answer as u64,
        // KVM skips the `out` itself; rax is shared back.
        _ => {
            run.s.regs.regs.rax = answer as u64;
            run.kvm_dirty_regs |= u64::from(KVM_SYNC_X86_REGS);
        }
    }
}

/// What the loop does for the sake of what a handler asked for, beside `answer`.
#[cold]
fn grant(request: Request, answer: i64, run: &mut kvm_run) -> Disposition {
    match request {
        Request::Stop(reason) => Disposition::Stop(reason),
        Request::Panicked { .. } => Disposition::Resume,
        // The handler failed after it had deferred.
        Request::Defer(_) if answer < 0 => Disposition::Resume,
        Request::Defer(pending) => {
            // What the guest has if the VMM runs it without having waited.
            answer_vcpu(run, encode_result(Err(Errno::EIO)));
            Disposition::Wait(pending)
        }
    }
}
