// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a handler sees of a call, and what it may ask for.

use crate::decode::shared_registers;
use crate::host::StopReason;
use crate::memory::CopyGuestMemory;
use crate::ring::RingId;
use crate::stats::{Outcome, Shard};
use hcall_abi::convention::{Arguments, ARGUMENT_COUNT};
use hcall_abi::encode_result;
use hcall_abi::{Errno, Gpa, HypercallNumber, Transport};
use kvm_bindings::{kvm_regs, kvm_run, KVM_SYNC_X86_REGS};
use kvm_ioctls::VcpuFd;
use std::fmt;
use std::sync::Arc;

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

/// Where a call came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// A vCPU has left the guest for it, and waits.
    Vcpu {
        /// The vCPU's identifier.
        id: u32,
        /// How the call came.
        transport: Transport,
    },
    /// A ring; no vCPU waits, and none can be asked anything.
    Ring(RingId),
}

/// Where a call came from, with the vCPU if there is one.
pub(crate) enum Source<'call> {
    Vcpu {
        vcpu: &'call mut dyn Vcpu,
        id: u32,
        transport: Transport,
    },
    Ring(RingId),
}

impl Source<'_> {
    fn origin(&self) -> Origin {
        match self {
            Self::Vcpu { id, transport, .. } => Origin::Vcpu {
                id: *id,
                transport: *transport,
            },
            Self::Ring(ring) => Origin::Ring(*ring),
        }
    }

    /// The vCPU, or what a handler is told that needs one.
    fn vcpu(&self) -> Result<&dyn Vcpu, Errno> {
        match self {
            Self::Vcpu { vcpu, .. } => Ok(&**vcpu),
            Self::Ring(_) => Err(Errno::EOPNOTSUPP),
        }
    }

    fn vcpu_mut(&mut self) -> Result<&mut dyn Vcpu, Errno> {
        match self {
            Self::Vcpu { vcpu, .. } => Ok(&mut **vcpu),
            Self::Ring(_) => Err(Errno::EOPNOTSUPP),
        }
    }
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
    pub(crate) memory: &'call Arc<dyn CopyGuestMemory>,
    /// Those of the vCPU or ring.
    pub(crate) counters: &'call Shard,
    /// What the last handler asked for. Boxed, to be one word that is looked at after each
    /// call.
    pub(crate) stop: Option<Box<StopReason>>,
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

    /// The GPA that the guest's current page tables give for `gva`.
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
        self.memory.as_ref()
    }

    /// Ends the VM with `code` once the handler has returned; the guest is not resumed.
    ///
    /// A call through a ring cannot end the VM: it is answered with −EINVAL instead.
    pub fn request_exit(&mut self, code: u8) {
        self.stop = Some(Box::new(StopReason::Exit(code)));
    }

    /// Ends the VM as panicked with `message` once the handler has returned; the guest is
    /// not resumed. Through a ring as [`request_exit`](Self::request_exit).
    pub fn request_panic(&mut self, message: String) {
        self.stop = Some(Box::new(StopReason::Panic(message)));
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
