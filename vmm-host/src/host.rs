// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hypercalls of one VM, whole: interception, the table, dispatch and counting.

use crate::batch::BATCH_LIMIT;
use crate::confinement::Confinement;
use crate::core_calls::{self, CoreServices};
use crate::cpuid::{self, CpuidError};
use crate::decode;
use crate::deferred::ReadyAnswer;
use crate::dispatch::{Dispatcher, PanicPolicy};
use crate::disposition::{Disposition, StopReason};
use crate::hypercall::Vcpu;
use crate::intercept::{self, InterceptError};
use crate::interrupts::Interrupts;
use crate::memory::CopyGuestMemory;
use crate::observation::{Observation, Spans};
use crate::ring::{RingConfig, RingWiring, Rings};
use crate::stats::Counters;
use crate::table::{Callers, HypercallTable};
use crate::vcpu_calls::VcpuCalls;
#[cfg(feature = "watch")]
use crate::watch::Watch;
use hcall_abi::cpuid::{Advertisement, Features, Limits};
use hcall_abi::{Transport, TransportSet, ABI_VERSION};
use kvm_bindings::CpuId;
use kvm_ioctls::{SyncReg, VcpuExit, VcpuFd, VmFd};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use vm_memory::GuestMemory;

/// Longest (GPA, length) buffer of a core call, in bytes.
pub const BUFFER_LIMIT: u32 = 64 * 1024;

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
        VcpuCalls::new(&self.dispatcher, self.offered, vcpu_id)
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

impl Drop for HypercallHost {
    fn drop(&mut self) {
        self.close_rings();
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
