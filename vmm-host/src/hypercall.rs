// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a handler sees of a call, and what it may ask for.

use crate::decode::shared_registers;
use crate::memory::CopyGuestMemory;
use hcall_abi::convention::{Arguments, ARGUMENT_COUNT};
use hcall_abi::{Errno, Gpa, HypercallNumber, Transport};
use kvm_bindings::{kvm_regs, kvm_run, KVM_SYNC_X86_REGS};
use kvm_ioctls::VcpuFd;
use std::fmt;

/// EFER.LMA (SDM volume 3, 2.2.1).
const LONG_MODE_ACTIVE: u64 = 1 << 10;

/// What a handler answers: a payload below 2^63, or an errno. A payload of 2^31 or more
/// reaches a caller in 32-bit mode as −EOVERFLOW.
pub type HypercallResult = Result<u64, Errno>;

/// A current privilege level, 0 (kernel) to 3 (process).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpl(u8);

impl Cpl {
    /// CPL 0.
    pub const KERNEL: Self = Self(0);

    /// The level in the low two bits of a selector or of KVM's report.
    pub const fn from_low_bits(bits: u32) -> Self {
        Self((bits & 3) as u8)
    }

    /// The level.
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// How wide the registers of a caller are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// 64-bit mode.
    Bits64,
    /// 32-bit protected mode, or compatibility mode.
    Bits32,
}

/// What the dispatcher needs of a vCPU. Implemented for [`VcpuFd`]; a test may implement
/// it over a `kvm_run` of its own.
pub trait Vcpu {
    /// The memory shared with KVM.
    fn kvm_run(&mut self) -> &mut kvm_run;

    /// The privilege level, when the exit did not tell it.
    ///
    /// # Errors
    ///
    /// KVM's.
    fn privilege_level(&self) -> Result<Cpl, kvm_ioctls::Error>;

    /// The mode that the vCPU is in, when the exit did not tell it. As provided, 64-bit
    /// mode: that of vCPUs that are never in another.
    ///
    /// # Errors
    ///
    /// KVM's.
    fn mode(&self) -> Result<Mode, kvm_ioctls::Error> {
        Ok(Mode::Bits64)
    }

    /// Translates a guest-virtual address by the guest's current page tables; `None` if
    /// it is not mapped.
    ///
    /// # Errors
    ///
    /// KVM's.
    fn translate(&self, gva: u64) -> Result<Option<Gpa>, kvm_ioctls::Error>;
}

impl Vcpu for VcpuFd {
    #[inline]
    fn kvm_run(&mut self) -> &mut kvm_run {
        self.get_kvm_run()
    }

    fn privilege_level(&self) -> Result<Cpl, kvm_ioctls::Error> {
        Ok(Cpl::from_low_bits(self.get_sregs()?.ss.dpl.into()))
    }

    fn mode(&self) -> Result<Mode, kvm_ioctls::Error> {
        let sregs = self.get_sregs()?;
        let long_mode = sregs.efer & LONG_MODE_ACTIVE != 0;
        Ok(if long_mode && sregs.cs.l != 0 {
            Mode::Bits64
        } else {
            Mode::Bits32
        })
    }

    fn translate(&self, gva: u64) -> Result<Option<Gpa>, kvm_ioctls::Error> {
        let translation = self.translate_gva(gva)?;
        Ok((translation.valid != 0).then_some(Gpa::new(translation.physical_address)))
    }
}

/// What a handler may ask of the VM besides its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StopRequest {
    Exit(u8),
    Panic(String),
}

/// Who makes a call, or a batch of them, and what came of it besides answers.
pub(crate) struct Caller<'call> {
    pub(crate) vcpu: &'call mut dyn Vcpu,
    pub(crate) vcpu_id: u32,
    pub(crate) transport: Transport,
    /// The privilege level, where the exit itself said it.
    pub(crate) cpl: Option<Cpl>,
    /// The mode, where the exit itself said it.
    pub(crate) mode: Option<Mode>,
    /// What the last handler asked for.
    pub(crate) stop: Option<StopRequest>,
}

/// One call, on the thread of the vCPU that made it.
pub struct Hypercall<'call> {
    number: HypercallNumber,
    arguments: Arguments,
    cpl: Option<Cpl>,
    mode: Option<Mode>,
    transport: Transport,
    vcpu_id: u32,
    vcpu: &'call mut dyn Vcpu,
    memory: &'call dyn CopyGuestMemory,
    stop: &'call mut Option<StopRequest>,
}

impl<'call> Hypercall<'call> {
    pub(crate) fn new(
        number: HypercallNumber,
        arguments: Arguments,
        caller: &'call mut Caller<'_>,
        memory: &'call dyn CopyGuestMemory,
    ) -> Self {
        Self {
            number,
            arguments,
            cpl: caller.cpl,
            mode: caller.mode,
            transport: caller.transport,
            vcpu_id: caller.vcpu_id,
            vcpu: &mut *caller.vcpu,
            memory,
            stop: &mut caller.stop,
        }
    }

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

    /// The transport by which the call came.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The identifier of the vCPU that made the call.
    pub fn vcpu_id(&self) -> u32 {
        self.vcpu_id
    }

    /// The caller's privilege level. Free for calls by the instruction and the carrier;
    /// over the port it is asked of KVM.
    ///
    /// # Errors
    ///
    /// EIO if KVM does not say.
    pub fn cpl(&self) -> Result<Cpl, Errno> {
        match self.cpl {
            Some(cpl) => Ok(cpl),
            None => self.vcpu.privilege_level().map_err(|_| Errno::EIO),
        }
    }

    /// The caller's mode. Free for calls by the instruction and the carrier; over the port
    /// it is asked of KVM.
    ///
    /// # Errors
    ///
    /// EIO if KVM does not say.
    pub fn mode(&self) -> Result<Mode, Errno> {
        match self.mode {
            Some(mode) => Ok(mode),
            None => self.vcpu.mode().map_err(|_| Errno::EIO),
        }
    }

    /// The vCPU's general registers at the call; for an entry of a batch, at the call of the
    /// batch.
    pub fn registers(&mut self) -> kvm_regs {
        *shared_registers(self.vcpu.kvm_run())
    }

    /// Sets the vCPU's general registers. rax and rip are the call's: what is set there
    /// is overwritten.
    ///
    /// The ABI promises guests that no register but rax changes; a handler that uses this
    /// has a contract of its own.
    pub fn set_registers(&mut self, registers: &kvm_regs) {
        let run = self.vcpu.kvm_run();
        let kept = *shared_registers(run);
        run.s.regs.regs = kvm_regs {
            rax: kept.rax,
            rip: kept.rip,
            ..*registers
        };
        run.kvm_dirty_regs |= u64::from(KVM_SYNC_X86_REGS);
    }

    /// The GPA that the guest's current page tables give for `gva`.
    ///
    /// # Errors
    ///
    /// EFAULT if it is not mapped, EIO if KVM does not say.
    pub fn translate(&self, gva: u64) -> Result<Gpa, Errno> {
        self.vcpu
            .translate(gva)
            .map_err(|_| Errno::EIO)?
            .ok_or(Errno::EFAULT)
    }

    /// Guest memory.
    pub fn memory(&self) -> &dyn CopyGuestMemory {
        self.memory
    }

    /// Ends the VM with `code` once the handler has returned; the guest is not resumed.
    pub fn request_exit(&mut self, code: u8) {
        *self.stop = Some(StopRequest::Exit(code));
    }

    /// Ends the VM as panicked with `message` once the handler has returned; the guest is
    /// not resumed.
    pub fn request_panic(&mut self, message: String) {
        *self.stop = Some(StopRequest::Panic(message));
    }
}

impl fmt::Debug for Hypercall<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Hypercall")
            .field("number", &self.number)
            .field("arguments", &self.arguments)
            .field("transport", &self.transport)
            .field("vcpu_id", &self.vcpu_id)
            .finish_non_exhaustive()
    }
}
