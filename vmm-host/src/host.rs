// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hypercalls of one VM, whole: interception, the table, dispatch and counting.

use crate::batch::BATCH_LIMIT;
use crate::confinement::Confinement;
use crate::core_calls::{self, CoreServices};
use crate::cpuid::{self, CpuidError};
use crate::decode::{self, DecodedCall};
use crate::deferred::{PendingAnswer, ReadyAnswer};
use crate::dispatch::{Dispatcher, PanicPolicy};
use crate::hypercall::{Hypercall, Mode, Origin, Request, Vcpu};
use crate::intercept::{self, InterceptError};
use crate::interrupts::Interrupts;
use crate::memory::CopyGuestMemory;
use crate::observation::{Observation, Spans};
use crate::origin::Source;
use crate::ring::{RingConfig, RingWiring, Rings};
use crate::stats::{Counters, Outcome, Shard};
use crate::table::{Callers, Entry, HypercallTable, Snapshot, TableCache};
#[cfg(feature = "watch")]
use crate::watch::Watch;
use hcall_abi::cpuid::{Advertisement, Features, Limits};
use hcall_abi::result::MAX_PAYLOAD_32;
use hcall_abi::{
    encode_result, encode_result_32, Errno, HypercallNumber, Transport, TransportSet, ABI_VERSION,
};
use kvm_bindings::{kvm_run, CpuId, KVM_EXIT_HYPERCALL, KVM_EXIT_XEN, KVM_SYNC_X86_REGS};
use kvm_ioctls::{SyncReg, VcpuExit, VcpuFd, VmFd};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use vm_memory::GuestMemory;

/// Longest (GPA, length) buffer of a core call, in bytes.
pub const BUFFER_LIMIT: u32 = 64 * 1024;

/// What the vCPU's thread does after a call.
#[derive(Debug, PartialEq, Eq)]
#[repr(u8)] // A tag of its own is set and looked at in fewer instructions.
#[must_use]
pub enum Disposition {
    /// Runs the vCPU again; the answer is in place.
    Resume,
    /// Ends the VM.
    Stop(StopReason),
    /// Waits for the answer, as it likes, and then has it
    /// [put in place](VcpuCalls::complete) before it runs the vCPU again.
    Wait(PendingAnswer),
}

/// Why a handler ended the VM.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// The guest called `EXIT`, or another handler asked for it.
    Exit(u8),
    /// The guest called `PANIC` with this message.
    Panic(String),
    /// A handler panicked, and the host has [`PanicPolicy::EndVm`].
    HandlerPanicked {
        /// The number that was called.
        number: HypercallNumber,
        /// What the panic said.
        message: String,
    },
}

impl fmt::Display for StopReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(formatter, "the guest exited with status {code}"),
            Self::Panic(message) => write!(formatter, "the guest panicked: {message}"),
            Self::HandlerPanicked { number, message } => {
                write!(
                    formatter,
                    "the handler of hypercall {number} panicked: {message}"
                )
            }
        }
    }
}

/// Hypercalls of one VM. Shared by its vCPU threads.
///
/// See the [crate's documentation](crate) for how the parts go together.
pub struct HypercallHost {
    dispatcher: Dispatcher,
    offered: TransportSet,
    features: Features,
    confinement: Confinement,
}

impl HypercallHost {
    /// Turns on what `offered` needs of KVM. Call it before any vCPU is created.
    ///
    /// `memory` is what handlers see as guest memory: usually a clone of the VMM's
    /// `GuestMemoryMmap`.
    ///
    /// # Errors
    ///
    /// [`InterceptError`] if KVM cannot deliver one of `offered`.
    pub fn new(
        vm: &VmFd,
        memory: impl CopyGuestMemory + 'static,
        offered: TransportSet,
    ) -> Result<Self, InterceptError> {
        for transport in offered.iter() {
            intercept::enable(vm, transport)?;
        }
        intercept::disable_text_rewriting(vm)?;
        Ok(Self::without_kvm(memory, offered))
    }

    /// As [`new`](Self::new), with nothing asked of KVM: for calls that do not come from
    /// it, as in tests and benchmarks of the dispatch itself.
    pub fn without_kvm(memory: impl CopyGuestMemory + 'static, offered: TransportSet) -> Self {
        Self {
            dispatcher: Dispatcher {
                table: Arc::default(),
                counters: Arc::default(),
                memory: Arc::new(memory),
                callers: Callers::default(),
                interrupts: None,
                on_panic: PanicPolicy::default(),
                stop_listener: None,
                rings: None,
            },
            offered,
            features: Features::EMPTY,
            confinement: Confinement::default(),
        }
    }

    /// Sets who may call handlers that do not say so themselves; kernels only by default.
    #[must_use]
    pub fn with_callers(mut self, callers: Callers) -> Self {
        self.dispatcher.callers = callers;
        self
    }

    /// Lets handlers give interrupts to vCPUs:
    /// [`Hypercall::inject_interrupt`](crate::Hypercall::inject_interrupt).
    #[must_use]
    pub fn with_interrupts(mut self, interrupts: impl Interrupts + 'static) -> Self {
        self.dispatcher.interrupts = Some(Arc::new(interrupts));
        self
    }

    /// Sets what the panic of a handler does; by default the VM goes on.
    #[must_use]
    pub fn with_panic_policy(mut self, policy: PanicPolicy) -> Self {
        self.dispatcher.on_panic = policy;
        self
    }

    /// Has `listener` told that a call through a ring ends the VM, as the panic of its
    /// handler does by [`PanicPolicy::EndVm`]. It is called on the ring's thread; calls of
    /// vCPUs are told by [`Disposition::Stop`]. Call it before
    /// [`with_rings`](Self::with_rings).
    #[must_use]
    pub fn with_stop_listener(
        mut self,
        listener: impl Fn(StopReason) + Send + Sync + 'static,
    ) -> Self {
        self.dispatcher.stop_listener = Some(Arc::new(listener));
        self
    }

    /// Counts and times the calls of each number, to be read with [`watch`](Self::watch).
    /// Call it before anything is registered.
    ///
    /// # Panics
    ///
    /// If there are handlers already, core calls and rings included: they would go unwatched.
    #[cfg(feature = "watch")]
    #[must_use]
    pub fn with_watching(self) -> Self {
        self.observe(|observation| observation.watch = Some(Arc::default()))
    }

    /// Makes each call a span of `tracing`, with its arguments and its answer, at level
    /// TRACE. Call it before anything is registered.
    ///
    /// # Panics
    ///
    /// As [`with_watching`](Self::with_watching).
    #[must_use]
    pub fn with_call_spans(self) -> Self {
        self.observe(|observation| observation.spans = Spans::On)
    }

    fn observe(mut self, change: impl FnOnce(&mut Observation)) -> Self {
        let table = &mut self.dispatcher.table;
        assert!(
            table.registrations().is_empty(),
            "calls are observed from the first registration on"
        );
        let mut observation = table.observation().clone();
        change(&mut observation);
        *table = Arc::new(HypercallTable::observed(observation));
        self
    }

    /// What is recorded of each number's calls, if the host watches.
    #[cfg(feature = "watch")]
    pub fn watch(&self) -> Option<&Arc<Watch>> {
        self.dispatcher.table.observation().watch.as_ref()
    }

    /// Confines the threads of rings. Call it before [`with_rings`](Self::with_rings).
    ///
    /// # Panics
    ///
    /// If the host has rings already.
    #[cfg(feature = "sandbox")]
    #[must_use]
    pub fn with_sandbox(self, sandbox: crate::sandbox::Sandbox) -> Self {
        self.with_confinement(Some(sandbox).into())
    }

    /// As [`with_sandbox`](Self::with_sandbox), where there may be none.
    #[must_use]
    pub(crate) fn with_confinement(mut self, confinement: Confinement) -> Self {
        assert!(
            self.dispatcher.rings.is_none(),
            "a ring's thread is confined from its start"
        );
        self.confinement = confinement;
        self
    }

    /// Registers the core calls PROBE … BATCH, and advertises them.
    #[must_use]
    pub fn with_core_calls(mut self, services: CoreServices) -> Self {
        self.features = self
            .features
            .union(Features::CORE_CALLS)
            .union(Features::BATCH);
        core_calls::register(&self, services);
        self
    }

    /// Lets the guest set up rings in `memory`, which is the memory that handlers see, and
    /// advertises them. Call it before [`with_core_calls`](Self::with_core_calls), which
    /// tells the guest what is offered.
    ///
    /// Each ring has a thread; all of them have ended after
    /// [`close_rings`](Self::close_rings) and when the host is dropped.
    ///
    /// # Panics
    ///
    /// If the host has rings or core calls already.
    #[must_use]
    pub fn with_rings<M: GuestMemory + Clone + Send + Sync + 'static>(
        mut self,
        memory: M,
        wiring: impl RingWiring + 'static,
        config: RingConfig,
    ) -> Self {
        assert_eq!(
            self.features,
            Features::EMPTY,
            "rings are turned on once, and before the core calls"
        );
        self.features = Features::RING;
        self.dispatcher.rings = Some(Arc::new(Rings::new(
            memory,
            wiring,
            config,
            self.confinement.clone(),
        )));
        self.dispatcher
            .table
            .register_rings()
            .expect("nobody has registered core calls");
        self
    }

    /// Ends every ring. To be called when no vCPU runs any more, since a guest can set up
    /// others.
    pub fn close_rings(&self) {
        if let Some(rings) = &self.dispatcher.rings {
            rings.close();
        }
    }

    /// Has every ring pause: when this returns true, no call through one is under way, and none
    /// begins before [`resume_rings`](Self::resume_rings). False if a handler takes longer than
    /// `limit`; then call that to undo it.
    ///
    /// To be called when no vCPU runs, since a guest can set up others.
    #[must_use]
    pub fn pause_rings(&self, limit: Duration) -> bool {
        let rings = self.dispatcher.rings.as_ref();
        rings.is_none_or(|rings| rings.pause(limit))
    }

    /// Has the rings go on.
    pub fn resume_rings(&self) {
        if let Some(rings) = &self.dispatcher.rings {
            rings.resume();
        }
    }

    /// The handlers.
    pub fn hypercalls(&self) -> &HypercallTable {
        &self.dispatcher.table
    }

    /// Guest memory, as handlers see it.
    pub fn memory(&self) -> &dyn CopyGuestMemory {
        self.dispatcher.memory.as_ref()
    }

    #[cfg(feature = "_fuzzing")]
    pub(crate) fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// The counters.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.dispatcher.counters
    }

    /// What the guest is told in CPUID.
    pub fn advertisement(&self) -> Advertisement {
        Advertisement {
            abi_version: ABI_VERSION,
            features: self.features,
            transports: self.offered,
            preferred: self.offered.preferred(),
            limits: Limits {
                batch_entries: if self.features.contains(Features::BATCH) {
                    BATCH_LIMIT
                } else {
                    0
                },
                ring_entries: self
                    .dispatcher
                    .rings
                    .as_ref()
                    .map_or(0, |rings| rings.entries_limit()),
                buffer_bytes: BUFFER_LIMIT,
            },
        }
    }

    /// Adds hcall's block to a vCPU's `cpuid`; returns its base. See [`cpuid::advertise`].
    ///
    /// # Errors
    ///
    /// [`CpuidError`] if there is no room.
    pub fn advertise(&self, cpuid: &mut CpuId) -> Result<u32, CpuidError> {
        cpuid::advertise(cpuid, &self.advertisement())
    }

    /// Has KVM share `vcpu`'s general registers at every exit, so that a call needs no
    /// ioctl but KVM_RUN. Call it once for each vCPU.
    pub fn prepare(&self, vcpu: &mut VcpuFd) {
        vcpu.set_sync_valid_reg(SyncReg::Register);
    }

    /// The transport by which `exit` is a hypercall that this VM offers; `None` if the
    /// exit is the VMM's own business.
    ///
    /// Where [`Transport::Carrier`] is offered that includes `VcpuExit::Hypercall` with a
    /// real KVM_HC_MAP_GPA_RANGE: the VMM must set its `ret`, −1000 if it does not
    /// implement it, since KVM has set it to success.
    #[inline]
    pub fn recognise(&self, exit: &VcpuExit<'_>) -> Option<Transport> {
        decode::recognise(exit, self.offered)
    }

    /// What a vCPU's thread answers its calls with, if it makes many.
    pub fn vcpu_calls(&self, vcpu_id: u32) -> VcpuCalls<'_> {
        VcpuCalls {
            vcpu: CallingVcpu {
                dispatcher: &self.dispatcher,
                offered: self.offered,
                id: vcpu_id,
                counters: self.dispatcher.counters.of_vcpu(vcpu_id),
            },
            table: self.dispatcher.table.cache(),
        }
    }

    /// Answers one call that `vcpu` has just made over `transport`, as
    /// [`recognise`](Self::recognise) said. A loop is better off with
    /// [`vcpu_calls`](Self::vcpu_calls).
    ///
    /// A handler that panics gives the guest −EIO, is counted, and the VM goes on, unless
    /// [`with_panic_policy`](Self::with_panic_policy) says otherwise.
    pub fn dispatch(
        &self,
        vcpu: &mut impl Vcpu,
        vcpu_id: u32,
        transport: Transport,
    ) -> Disposition {
        self.vcpu_calls(vcpu_id).dispatch(vcpu, transport)
    }

    /// As [`VcpuCalls::complete`].
    pub fn complete(&self, vcpu: &mut impl Vcpu, answer: ReadyAnswer) {
        self.vcpu_calls(answer.caller.vcpu_id)
            .complete(vcpu, answer);
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

impl Drop for HypercallHost {
    fn drop(&mut self) {
        self.close_rings();
    }
}

/// The calls of one vCPU, on its thread: it remembers the table, so that a call finds its
/// handler with no more than a look whether the table is still the same.
///
/// What it remembers lives on: the handlers that were removed from the table are dropped
/// when every vCPU has made its next call, or its `VcpuCalls` is gone.
pub struct VcpuCalls<'host> {
    vcpu: CallingVcpu<'host>,
    table: TableCache<'host>,
}

/// A vCPU as a caller, with what every call needs at hand.
struct CallingVcpu<'host> {
    dispatcher: &'host Dispatcher,
    offered: TransportSet,
    id: u32,
    counters: &'host Shard,
}

impl VcpuCalls<'_> {
    /// As [`HypercallHost::recognise`].
    #[inline]
    pub fn recognise(&self, exit: &VcpuExit<'_>) -> Option<Transport> {
        decode::recognise(exit, self.vcpu.offered)
    }

    /// As [`HypercallHost::dispatch`].
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

impl fmt::Debug for VcpuCalls<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("VcpuCalls")
            .field("vcpu_id", &self.vcpu.id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for HypercallHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HypercallHost")
            .field("table", &self.dispatcher.table)
            .field("offered", &self.offered)
            .field("callers", &self.dispatcher.callers)
            .field("rings", &self.dispatcher.rings)
            .finish_non_exhaustive()
    }
}
