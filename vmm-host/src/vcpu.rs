// SPDX-License-Identifier: MIT OR Apache-2.0
//! What calls need of a vCPU, and the levels and modes that one can be in.

use hcall_abi::Gpa;
use kvm_bindings::{kvm_run, kvm_sregs};
use kvm_ioctls::VcpuFd;

/// EFER.LMA (SDM volume 3, 2.2.1).
const LONG_MODE_ACTIVE: u64 = 1 << 10;

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

/// The mode of a vCPU with these registers.
pub(crate) fn mode_of(registers: &kvm_sregs) -> Mode {
    let long_mode = registers.efer & LONG_MODE_ACTIVE != 0;
    if long_mode && registers.cs.l != 0 {
        Mode::Bits64
    } else {
        Mode::Bits32
    }
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

    /// The segments, the descriptor tables and the control registers. As provided, an error.
    ///
    /// # Errors
    ///
    /// KVM's.
    fn special_registers(&self) -> Result<kvm_sregs, kvm_ioctls::Error> {
        Err(kvm_ioctls::Error::new(libc::EOPNOTSUPP))
    }

    /// Sets them. As provided, an error.
    ///
    /// # Errors
    ///
    /// KVM's.
    fn set_special_registers(&self, _registers: &kvm_sregs) -> Result<(), kvm_ioctls::Error> {
        Err(kvm_ioctls::Error::new(libc::EOPNOTSUPP))
    }
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
        Ok(mode_of(&self.get_sregs()?))
    }

    fn translate(&self, gva: u64) -> Result<Option<Gpa>, kvm_ioctls::Error> {
        let translation = self.translate_gva(gva)?;
        Ok((translation.valid != 0).then_some(Gpa::new(translation.physical_address)))
    }

    fn special_registers(&self) -> Result<kvm_sregs, kvm_ioctls::Error> {
        self.get_sregs()
    }

    fn set_special_registers(&self, registers: &kvm_sregs) -> Result<(), kvm_ioctls::Error> {
        self.set_sregs(registers)
    }
}
