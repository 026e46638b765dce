// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts that a handler gives to vCPUs: messages to their local APICs, as a device that
//! has MSI would send them.

use hcall_abi::Errno;
use kvm_bindings::kvm_msi;
use kvm_ioctls::VmFd;
use std::fmt;
use std::sync::Arc;

/// Where messages to local APICs go, and where in the address the target's id stands (SDM
/// volume 3, 12.11.1). Delivery is fixed, the destination physical, the trigger an edge.
const MESSAGE_ADDRESS: u32 = 0xfee0_0000;
const TARGET_SHIFT: u32 = 12;
/// The id that means every APIC.
const BROADCAST: u32 = 0xff;

/// An interrupt's vector: 16 to 255, those that a local APIC delivers.
///
/// # Examples
///
/// ```
/// use hcall_vmm::interrupts::InterruptVector;
/// assert_eq!(InterruptVector::new(0x40).map(InterruptVector::get), Some(0x40));
/// assert_eq!(InterruptVector::new(15), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterruptVector(u8);

impl InterruptVector {
    /// The lowest: a local APIC takes none below for an interrupt (SDM volume 3, 12.5.2).
    pub const LOWEST: Self = Self(16);

    /// The vector of this number, or `None` if it is below [`LOWEST`](Self::LOWEST).
    pub const fn new(number: u8) -> Option<Self> {
        if number < Self::LOWEST.0 {
            return None;
        }
        Some(Self(number))
    }

    /// Its number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for InterruptVector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}", self.0)
    }
}

/// Why a vCPU has no interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InterruptError {
    /// There is no such vCPU, or its guest has not switched its local APIC on.
    #[error("there is no vCPU {0}, or its local APIC is off")]
    NotTaken(u32),
    /// KVM refused.
    #[error("KVM refused: {0}")]
    Kvm(kvm_ioctls::Error),
}

impl From<InterruptError> for Errno {
    fn from(error: InterruptError) -> Self {
        match error {
            InterruptError::NotTaken(_) => Errno::ENXIO,
            InterruptError::Kvm(_) => Errno::EIO,
        }
    }
}

/// Gives interrupts to vCPUs; [`KvmInterrupts`] has KVM do it.
pub trait Interrupts: Send + Sync {
    /// Makes `vector` pending in the local APIC of vCPU `vcpu_id`, whatever that vCPU does at
    /// the moment; its guest has the interrupt once it takes interrupts. One that is pending
    /// already stays one.
    ///
    /// # Errors
    ///
    /// [`InterruptError`]
    fn inject(&self, vcpu_id: u32, vector: InterruptVector) -> Result<(), InterruptError>;
}

/// By `KVM_SIGNAL_MSI`, where the interrupt controllers are KVM's (`KVM_CREATE_IRQCHIP`) and
/// each vCPU's APIC has the vCPU's id, as it has unless a guest changes it. A vCPU whose id is
/// 255 or above cannot be named in such a message.
#[derive(Debug)]
pub struct KvmInterrupts {
    vm: Arc<VmFd>,
}

impl KvmInterrupts {
    /// Those of `vm`.
    pub fn new(vm: Arc<VmFd>) -> Self {
        Self { vm }
    }
}

impl Interrupts for KvmInterrupts {
    fn inject(&self, vcpu_id: u32, vector: InterruptVector) -> Result<(), InterruptError> {
        if vcpu_id >= BROADCAST {
            return Err(InterruptError::NotTaken(vcpu_id));
        }
        let message = kvm_msi {
            address_lo: MESSAGE_ADDRESS | (vcpu_id << TARGET_SHIFT),
            data: vector.get().into(),
            ..Default::default()
        };
        match self.vm.signal_msi(message) {
            Ok(0) => Err(InterruptError::NotTaken(vcpu_id)),
            Ok(_) => Ok(()),
            Err(error) => Err(InterruptError::Kvm(error)),
        }
    }
}
