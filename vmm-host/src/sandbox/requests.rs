// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ioctls that threads may make: KVM's, by number, as `linux/kvm.h` builds them.

use crate::confinement::ThreadRole;
use kvm_bindings::{kvm_ioeventfd, kvm_irqfd, kvm_msi, kvm_regs, kvm_sregs, kvm_translation};

/// The way of an argument, in the two highest bits of a request.
const NONE: u32 = 0;
const WRITE: u32 = 1;
const READ: u32 = 2;

/// A request of KVM's with an argument of type `T`.
const fn request<T>(direction: u32, number: u32) -> u32 {
    const KVMIO: u32 = 0xae;
    (direction << 30) | ((size_of::<T>() as u32) << 16) | (KVMIO << 8) | number
}

/// The one that is made for each exit, which the filter looks for first.
pub(super) const KVM_RUN: u32 = request::<()>(NONE, 0x80);

/// A vCPU's registers, as far as they are not in memory that KVM shares, and its guest's clock
/// after a pause.
const VCPU: [u32; 5] = [
    request::<kvm_regs>(READ, 0x81),
    request::<kvm_sregs>(READ, 0x83),
    request::<kvm_sregs>(WRITE, 0x84),
    request::<kvm_translation>(READ | WRITE, 0x85),
    request::<()>(NONE, 0xad), // KVM_KVMCLOCK_CTRL
];

/// The interrupts that a handler gives to vCPUs.
const SIGNAL_MSI: u32 = request::<kvm_msi>(WRITE, 0xa5);

/// Doorbells and interrupts of rings, which come and go while the VM runs.
const RINGS: [u32; 2] = [
    request::<kvm_irqfd>(WRITE, 0x76),
    request::<kvm_ioeventfd>(WRITE, 0x79),
];

/// What `role` may request.
pub(super) fn of(role: ThreadRole) -> Vec<u32> {
    match role {
        ThreadRole::Vcpu => [&[KVM_RUN, SIGNAL_MSI][..], &VCPU, &RINGS].concat(),
        ThreadRole::Ring => vec![SIGNAL_MSI],
        // The rings that are left are closed by who waits for the VM.
        ThreadRole::Owner => RINGS.to_vec(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `linux/kvm.h` has them: a layout that another version of the bindings changes must
    /// not go unnoticed.
    #[test]
    fn numbers_are_the_kernels() {
        assert_eq!(KVM_RUN, 0xae80);
        let numbers = [0x8090_ae81, 0x8138_ae83, 0x4138_ae84, 0xc018_ae85, 0xaead];
        assert_eq!(VCPU, numbers);
        assert_eq!(SIGNAL_MSI, 0x4020_aea5);
        assert_eq!(RINGS, [0x4020_ae76, 0x4040_ae79]);
    }
}
