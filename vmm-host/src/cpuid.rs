// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guest is told in CPUID: hcall's block beside KVM's, and nothing of KVM's own
//! that would be a hypercall to us.

use hcall_abi::cpuid::{
    Advertisement, CpuidRegisters, BASE_STEP, FIRST_BASE, HYPERVISOR_BIT, HYPERVISOR_LEAF,
    LAST_BASE,
};
use hcall_abi::Transport;
use kvm_bindings::{kvm_cpuid_entry2, CpuId};

/// The signature in KVM's own block (Documentation/virt/kvm/x86/cpuid.rst).
const KVM_SIGNATURE: [u8; 12] = *b"KVMKVMKVM\0\0\0";

/// Distance from the leaf with KVM's signature to the one with its features.
const KVM_FEATURES_LEAF: u32 = 1;

/// KVM's paravirtual features whose guest side makes hypercalls. Under interception those
/// would reach the VMM instead of KVM: a guest that saw PV_SEND_IPI would lose IPIs.
/// (Bits of `arch/x86/include/uapi/asm/kvm_para.h`.)
const FEATURES_BY_HYPERCALL: u32 =
    PV_UNHALT | PV_SEND_IPI | PV_SCHED_YIELD | HC_MAP_GPA_RANGE | MIGRATION_CONTROL;

const PV_UNHALT: u32 = 1 << 7;
const PV_SEND_IPI: u32 = 1 << 11;
const PV_SCHED_YIELD: u32 = 1 << 13;
const HC_MAP_GPA_RANGE: u32 = 1 << 16;
const MIGRATION_CONTROL: u32 = 1 << 17;

/// Of these, the one whose hypercall the carrier takes from KVM.
const FEATURES_BY_CARRIER: u32 = HC_MAP_GPA_RANGE;

/// Why the guest cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CpuidError {
    /// Every base is taken by another hypervisor's block.
    #[error("no free base for hcall's CPUID block between {FIRST_BASE:#x} and {LAST_BASE:#x}")]
    NoFreeBase,
    /// The CPUID table is full.
    #[error("the guest's CPUID table has no room for hcall's block")]
    Full,
}

/// Adds hcall's block to `cpuid` at the first free base, sets the hypervisor bit, and,
/// when the instruction or the carrier is offered, hides [the features](self) that need
/// those of KVM's hypercalls that it takes. Returns the base.
///
/// A VMM that answers KVM_HC_MAP_GPA_RANGE itself sets the feature's bit afterwards.
///
/// # Errors
///
/// [`CpuidError`] if there is no room; `cpuid` is unchanged then.
pub fn advertise(cpuid: &mut CpuId, advertisement: &Advertisement) -> Result<u32, CpuidError> {
    let base = free_base(cpuid).ok_or(CpuidError::NoFreeBase)?;
    let leaves = advertisement.leaves(base);
    let mut extended = cpuid.clone();
    for (function, registers) in (base..).zip(leaves) {
        extended
            .push(entry(function, registers))
            .map_err(|_| CpuidError::Full)?;
    }
    set_hypervisor_bit(&mut extended);
    if advertisement.transports.contains(Transport::Instruction) {
        mask_kvm_features(&mut extended, FEATURES_BY_HYPERCALL);
    }
    if advertisement.transports.contains(Transport::Carrier) {
        mask_kvm_features(&mut extended, FEATURES_BY_CARRIER);
    }
    *cpuid = extended;
    Ok(base)
}

/// Shows `vendor` in leaf 0 of `cpuid`: bytes in the order ebx, edx, ecx.
#[cfg(feature = "vmm")]
pub(crate) fn show_vendor(cpuid: &mut CpuId, vendor: [u8; 12]) {
    const VENDOR_LEAF: u32 = 0;
    let [ebx, edx, ecx] = [0, 4, 8]
        .map(|at| u32::from_le_bytes([vendor[at], vendor[at + 1], vendor[at + 2], vendor[at + 3]]));
    for entry in cpuid.as_mut_slice() {
        if entry.function == VENDOR_LEAF {
            (entry.ebx, entry.edx, entry.ecx) = (ebx, edx, ecx);
        }
    }
}

/// Shows in `cpuid` all of KVM's features that `supported` has, hidden ones included.
#[cfg(feature = "vmm")]
pub(crate) fn show_kvm_features_of(supported: &CpuId, cpuid: &mut CpuId) {
    let leaves = kvm_feature_leaves(supported);
    for entry in cpuid.as_mut_slice() {
        if leaves.contains(&entry.function) {
            for source in supported.as_slice() {
                if source.function == entry.function {
                    entry.eax = source.eax;
                }
            }
        }
    }
}

fn entry(function: u32, registers: CpuidRegisters) -> kvm_cpuid_entry2 {
    kvm_cpuid_entry2 {
        function,
        eax: registers.eax,
        ebx: registers.ebx,
        ecx: registers.ecx,
        edx: registers.edx,
        ..Default::default()
    }
}

/// The first base in whose block no leaf stands.
fn free_base(cpuid: &CpuId) -> Option<u32> {
    (FIRST_BASE..=LAST_BASE)
        .step_by(BASE_STEP as usize)
        .find(|base| {
            let block = *base..*base + BASE_STEP;
            !cpuid
                .as_slice()
                .iter()
                .any(|entry| block.contains(&entry.function))
        })
}

fn set_hypervisor_bit(cpuid: &mut CpuId) {
    for entry in cpuid.as_mut_slice() {
        if entry.function == HYPERVISOR_LEAF {
            entry.ecx |= HYPERVISOR_BIT;
        }
    }
}

fn mask_kvm_features(cpuid: &mut CpuId, hidden: u32) {
    let leaves = kvm_feature_leaves(cpuid);
    for entry in cpuid.as_mut_slice() {
        if leaves.contains(&entry.function) {
            entry.eax &= !hidden;
        }
    }
}

/// The leaves in which KVM names its features: one for each base with its signature.
fn kvm_feature_leaves(cpuid: &CpuId) -> Vec<u32> {
    cpuid
        .as_slice()
        .iter()
        .filter(|entry| is_base(entry.function) && signature(entry) == KVM_SIGNATURE)
        .map(|entry| entry.function + KVM_FEATURES_LEAF)
        .collect()
}

/// Whether a hypervisor's block can begin there. What stands in other leaves is no signature,
/// whatever it looks like.
fn is_base(function: u32) -> bool {
    (FIRST_BASE..=LAST_BASE).contains(&function) && function % BASE_STEP == 0
}

fn signature(entry: &kvm_cpuid_entry2) -> [u8; 12] {
    CpuidRegisters {
        eax: entry.eax,
        ebx: entry.ebx,
        ecx: entry.ecx,
        edx: entry.edx,
    }
    .signature()
}

#[cfg(all(test, feature = "vmm"))]
mod tests {
    use super::*;
    use hcall_abi::cpuid::{Features, Limits};
    use hcall_abi::{TransportSet, ABI_VERSION};

    #[test]
    fn hidden_features_are_shown_again_and_nothing_else_changes() {
        let signature =
            [0, 4, 8].map(|at| u32::from_le_bytes(KVM_SIGNATURE[at..at + 4].try_into().unwrap()));
        let supported = CpuId::from_entries(&[
            kvm_cpuid_entry2 {
                function: FIRST_BASE,
                ebx: signature[0],
                ecx: signature[1],
                edx: signature[2],
                ..Default::default()
            },
            kvm_cpuid_entry2 {
                function: FIRST_BASE + KVM_FEATURES_LEAF,
                eax: u32::MAX,
                ..Default::default()
            },
        ])
        .unwrap();
        let advertisement = Advertisement {
            abi_version: ABI_VERSION,
            features: Features::EMPTY,
            transports: TransportSet::EMPTY.with(Transport::Instruction),
            preferred: Some(Transport::Instruction),
            limits: Limits::default(),
        };
        let mut cpuid = supported.clone();
        advertise(&mut cpuid, &advertisement).unwrap();
        let mut shown = cpuid.clone();
        show_kvm_features_of(&supported, &mut shown);

        assert_eq!(cpuid.as_slice()[1].eax, !FEATURES_BY_HYPERCALL);
        assert_eq!(shown.as_slice()[1].eax, u32::MAX);
        cpuid.as_mut_slice()[1].eax = u32::MAX;
        assert_eq!(shown.as_slice(), cpuid.as_slice());
    }
}
