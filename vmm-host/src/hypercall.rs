// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a handler sees of a call, and what it may ask for.

use crate::decode::shared_registers;
#[cfg(feature = "extend")]
use crate::deferred::Kept;
use crate::deferred::{self, Caller, Deferred, PendingAnswer};
use crate::dispatch::Dispatcher;
use crate::disposition::StopReason;
use crate::interrupts::InterruptVector;
use crate::memory::{CopyGuestMemory, VirtualMemory};
use crate::origin::Source;
use crate::paging::{AddressSpace, Page};
use crate::stats::{Outcome, Shard};
use hcall_abi::convention::{Arguments, ARGUMENT_COUNT};
use hcall_abi::encode_result;
use hcall_abi::{Errno, Gpa, HypercallNumber, Transport};
use kvm_bindings::{kvm_regs, kvm_sregs, KVM_SYNC_X86_REGS};
use std::fmt;

pub use crate::origin::Origin;
pub use crate::vcpu::{Cpl, Mode, Vcpu};

/// What a handler answers: a payload below 2^63, or an errno. A payload of 2^31 or more
/// reaches a caller in 32-bit mode as −EOVERFLOW.
pub type HypercallResult = Result<u64, Errno>;

/// What a handler asked for beside its answer.
pub(crate) enum Request {
    Stop(StopReason),
    Defer(PendingAnswer),
    /// Nothing: it panicked, with this message, and what comes of it is not its to say.
    Panicked {
        number: HypercallNumber,
        message: String,
    },
}

/// One call, on the thread of the vCPU that made it, or of the ring through which it came.
pub struct Hypercall<'call> {
    // For the entries of a batch, number and arguments are set for one after the other.
    pub(crate) number: HypercallNumber,
    pub(crate) arguments: Arguments,
    pub(crate) source: Source<'call>,
    /// The privilege level, where the exit itself said it.
    pub(crate) cpl: Option<Cpl>,
    /// The mode, where the exit itself said it.
    pub(crate) mode: Option<Mode>,
    pub(crate) dispatcher: &'call Dispatcher,
    /// Those of the vCPU or ring.
    pub(crate) counters: &'call Shard,
    /// What the last handler asked for. Boxed, to be one word that is looked at after each
    /// call.
    pub(crate) request: Option<Box<Request>>,
}

impl Hypercall<'_> {
    /// The number that was called.
    pub fn number(&self) -> HypercallNumber {
        self.number
    }

    /// All arguments: rbx, rcx, rdx, rsi, the carrier's registers for them, or those of an
    /// entry of a batch.
    pub fn args(&self) -> Arguments {
        self.arguments
    }

    /// Argument `INDEX`, 0 to 3; another index does not compile.
    pub fn arg<const INDEX: usize>(&self) -> u64 {
        const { assert!(INDEX < ARGUMENT_COUNT, "a call has four arguments") };
        self.arguments[INDEX]
    }

    /// Where the call came from.
    pub fn origin(&self) -> Origin {
        self.source.origin()
    }

    /// The transport by which the call came; none through a ring.
    pub fn transport(&self) -> Option<Transport> {
        match self.origin() {
            Origin::Vcpu { transport, .. } => Some(transport),
            Origin::Ring(_) => None,
        }
    }

    /// The identifier of the vCPU that made the call; none through a ring.
    pub fn vcpu_id(&self) -> Option<u32> {
        match self.origin() {
            Origin::Vcpu { id, .. } => Some(id),
            Origin::Ring(_) => None,
        }
    }

    /// The caller's privilege level; through a ring, that of whoever set it up. Free for
    /// calls by the instruction and the carrier and through a ring; over the port it is
    /// asked of KVM.
    ///
    /// # Errors
    ///
    /// EIO if KVM does not say.
    pub fn cpl(&self) -> Result<Cpl, Errno> {
        match self.cpl {
            Some(cpl) => Ok(cpl),
            None => self
                .source
                .vcpu()?
                .privilege_level()
                .map_err(|_| Errno::EIO),
        }
    }

    /// The caller's mode; through a ring, that of whoever set it up. Free for calls by the
    /// instruction and the carrier and through a ring; over the port it is asked of KVM.
    ///
    /// # Errors
    ///
    /// EIO if KVM does not say.
    pub fn mode(&self) -> Result<Mode, Errno> {
        match self.mode {
            Some(mode) => Ok(mode),
            None => self.source.vcpu()?.mode().map_err(|_| Errno::EIO),
        }
    }

    /// The vCPU's general registers at the call; for an entry of a batch, at the call of the
    /// batch.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP through a ring, where no vCPU makes the call.
    pub fn registers(&mut self) -> Result<kvm_regs, Errno> {
        Ok(*shared_registers(self.source.vcpu_mut()?.kvm_run()))
    }

    /// Sets the vCPU's general registers. rax and rip are the call's: what is set there
    /// is overwritten.
    ///
    /// The ABI promises guests that no register but rax changes; a handler that uses this
    /// has a contract of its own.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP through a ring, where no vCPU makes the call.
    pub fn set_registers(&mut self, registers: &kvm_regs) -> Result<(), Errno> {
        let run = self.source.vcpu_mut()?.kvm_run();
        let kept = *shared_registers(run);
        run.s.regs.regs = kvm_regs {
            rax: kept.rax,
            rip: kept.rip,
            ..*registers
        };
        run.kvm_dirty_regs |= u64::from(KVM_SYNC_X86_REGS);
        Ok(())
    }

    /// The vCPU's segments, descriptor tables and control registers: `KVM_GET_SREGS`.
    ///
    /// # Errors
    ///
    /// EIO if KVM does not say, EOPNOTSUPP through a ring, where no vCPU makes the call.
    pub fn special_registers(&self) -> Result<kvm_sregs, Errno> {
        let vcpu = self.source.vcpu()?;
        vcpu.special_registers().map_err(|_| Errno::EIO)
    }

    /// Sets the vCPU's segments, descriptor tables and control registers: `KVM_SET_SREGS`.
    ///
    /// As with [`set_registers`](Self::set_registers), the ABI promises guests otherwise. KVM
    /// gives the guest its answer only where the instruction is still at the same linear
    /// address: a code segment with another base loses it.
    ///
    /// # Errors
    ///
    /// EIO if KVM refuses, EOPNOTSUPP through a ring, where no vCPU makes the call.
    pub fn set_special_registers(&mut self, registers: &kvm_sregs) -> Result<(), Errno> {
        let vcpu = self.source.vcpu_mut()?;
        vcpu.set_special_registers(registers)
            .map_err(|_| Errno::EIO)
    }

    /// The GPA that the guest's current page tables give for `gva`, as KVM finds it:
    /// `KVM_TRANSLATE`. [`walk`](Self::walk) says more.
    ///
    /// # Errors
    ///
    /// EFAULT if it is not mapped, EIO if KVM does not say, EOPNOTSUPP through a ring, where
    /// no vCPU has page tables.
    pub fn translate(&self, gva: u64) -> Result<Gpa, Errno> {
        self.source
            .vcpu()?
            .translate(gva)
            .map_err(|_| Errno::EIO)?
            .ok_or(Errno::EFAULT)
    }

    /// Guest memory.
    pub fn memory(&self) -> &dyn CopyGuestMemory {
        self.dispatcher.memory.as_ref()
    }

    /// Guest memory as the caller sees it: by the vCPU's page tables, and with the rights of
    /// the caller's privilege level. KVM is asked once for all that is done with it.
    ///
    /// # Errors
    ///
    /// EIO if KVM does not say, EOPNOTSUPP through a ring, where no vCPU has page tables.
    pub fn virtual_memory(&self) -> Result<VirtualMemory<'_>, Errno> {
        let registers = self.special_registers()?;
        let cpl = self
            .cpl
            .unwrap_or(Cpl::from_low_bits(registers.ss.dpl.into()));
        let space = AddressSpace::new((&registers).into());
        Ok(VirtualMemory::new(self.memory(), space, cpl))
    }

    /// Where `gva` leads by a walk of the guest's current page tables.
    ///
    /// # Errors
    ///
    /// EFAULT if it is not mapped; [`VirtualMemory::walk`] says why. Else as
    /// [`virtual_memory`](Self::virtual_memory).
    pub fn walk(&self, gva: u64) -> Result<Page, Errno> {
        Ok(self.virtual_memory()?.walk(gva)?)
    }

    /// Fills `bytes` from guest-virtual `gva` on, if the caller may read there.
    ///
    /// # Errors
    ///
    /// EFAULT if the caller may not; [`VirtualMemory::read`] says why. Else as
    /// [`virtual_memory`](Self::virtual_memory).
    pub fn read_virtual(&self, gva: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        Ok(self.virtual_memory()?.read(gva, bytes)?)
    }

    /// Copies `bytes` to guest-virtual `gva` and on, if the caller may write there: all or, on
    /// an error, nothing.
    ///
    /// # Errors
    ///
    /// EFAULT if the caller may not; [`VirtualMemory::write`] says why. Else as
    /// [`virtual_memory`](Self::virtual_memory).
    pub fn write_virtual(&self, gva: u64, bytes: &[u8]) -> Result<(), Errno> {
        Ok(self.virtual_memory()?.write(gva, bytes)?)
    }

    /// Puts the answer off: the vCPU waits until the [`Deferred`] has answered, from any
    /// thread, and its own thread is free until then. See [`deferred`].
    ///
    /// What the handler returns is the answer all the same if it is an error, or if the handler
    /// panics: then nobody waits for the `Deferred`. A payload is not looked at.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP in a batch and through a ring, where other calls would have to wait; EBUSY if
    /// the handler has deferred already, or has asked for the end of the VM.
    pub fn defer(&mut self) -> Result<Deferred, Errno> {
        let Source::Vcpu { id: vcpu_id, .. } = self.source else {
            return Err(Errno::EOPNOTSUPP);
        };
        if self.request.is_some() {
            return Err(Errno::EBUSY);
        }
        let mode = self.mode;
        let (deferred, pending) = deferred::defer(Caller { vcpu_id, mode });
        self.request = Some(Box::new(Request::Defer(pending)));
        Ok(deferred)
    }

    /// As [`defer`](Self::defer); `owner`, whose code answers, stays as long as somebody waits.
    ///
    /// # Errors
    ///
    /// The same.
    #[cfg(feature = "extend")]
    pub(crate) fn defer_for(&mut self, owner: Kept) -> Result<Deferred, Errno> {
        let deferred = self.defer()?;
        if let Some(Request::Defer(pending)) = self.request.as_deref_mut() {
            pending.keep(owner);
        }
        Ok(deferred)
    }

    /// Gives vCPU `vcpu_id`, this one or another, the interrupt `vector`: by its local APIC,
    /// whatever it does at the moment. Possible through a ring too.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP where the VMM offers no
    /// [interrupts](crate::HypercallHost::with_interrupts), ENXIO if there is no such vCPU or
    /// its guest has not switched its local APIC on, EIO if KVM refuses.
    pub fn inject_interrupt(&self, vcpu_id: u32, vector: InterruptVector) -> Result<(), Errno> {
        let interrupts = self.dispatcher.interrupts.as_ref();
        let interrupts = interrupts.ok_or(Errno::EOPNOTSUPP)?;
        Ok(interrupts.inject(vcpu_id, vector)?)
    }

    /// Ends the VM with `code` once the handler has returned; the guest is not resumed.
    ///
    /// A call through a ring cannot end the VM: it is answered with −EINVAL instead.
    pub fn request_exit(&mut self, code: u8) {
        self.request_stop(StopReason::Exit(code));
    }

    /// Ends the VM as panicked with `message` once the handler has returned; the guest is
    /// not resumed. Through a ring as [`request_exit`](Self::request_exit).
    pub fn request_panic(&mut self, message: String) {
        self.request_stop(StopReason::Panic(message));
    }

    fn request_stop(&mut self, reason: StopReason) {
        self.request = Some(Box::new(Request::Stop(reason)));
    }

    /// The call as which its entries are answered, one after the other.
    pub(crate) fn of_entries(&mut self) -> Hypercall<'_> {
        Hypercall {
            number: self.number,
            arguments: self.arguments,
            source: self.source.of_entries(),
            cpl: self.cpl,
            mode: self.mode,
            dispatcher: self.dispatcher,
            counters: self.counters,
            request: None,
        }
    }

    /// Counts a failure; what the call is answered with.
    #[cold]
    pub(crate) fn fail(&self, outcome: Outcome, errno: Errno) -> i64 {
        self.counters.count_outcome(outcome);
        encode_result(Err(errno))
    }
}

impl fmt::Debug for Hypercall<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Hypercall")
            .field("number", &self.number)
            .field("arguments", &self.arguments)
            .field("origin", &self.origin())
            .finish_non_exhaustive()
    }
}
