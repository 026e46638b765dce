// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is asked of KVM so that hypercalls leave the kernel.
//!
//! [`Transport::Instruction`] uses KVM's interception of Xen hypercalls
//! (`KVM_XEN_HVM_CONFIG`, Documentation/virt/kvm/api.rst 4.78 and 5.1): every VMMCALL and
//! VMCALL of the guest then ends KVM_RUN with `KVM_EXIT_XEN`. [`Transport::Carrier`] has
//! KVM hand over one of its own hypercalls (`KVM_CAP_EXIT_HYPERCALL`, api.rst 7.36), with
//! `KVM_EXIT_HYPERCALL`. [`Transport::Port`] needs nothing: `out` always does.

use hcall_abi::{carrier, Transport};
use kvm_bindings::{
    kvm_enable_cap, kvm_xen_hvm_config, KVMIO, KVM_CAP_DISABLE_QUIRKS2, KVM_CAP_EXIT_HYPERCALL,
    KVM_X86_QUIRK_FIX_HYPERCALL_INSN, KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL,
};
use kvm_ioctls::{Cap, MsrFilterDefaultAction, MsrFilterRange, MsrFilterRangeFlags, VmFd};
use std::os::raw::c_ulong;
use vmm_sys_util::ioctl::ioctl_with_ref;
use vmm_sys_util::{errno, ioctl_iow_nr};

mod request {
    //! The request that `kvm-ioctls` does not have yet.
    #![allow(unreachable_pub)] // what the macro makes is `pub`

    use super::{ioctl_iow_nr, kvm_xen_hvm_config, KVMIO};

    ioctl_iow_nr!(KVM_XEN_HVM_CONFIG, KVMIO, 0x7a, kvm_xen_hvm_config);
}

/// The MSR that KVM reserves for the interception.
///
/// A non-zero MSR is what turns it on. A guest that wrote the MSR would have KVM write a
/// page of Xen hypercalls into guest memory, so guests are denied it; nothing else uses
/// this number.
pub const XEN_MSR: u32 = 0x4000_4843;

/// Why KVM cannot deliver hypercalls.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InterceptError {
    /// The host kernel has no interception.
    #[error(
        "this kernel's KVM cannot intercept hypercalls (KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL): \
         it needs Linux 5.12 or later with CONFIG_KVM_XEN"
    )]
    NoXenInterception,
    /// KVM refused to turn the interception on.
    #[error("KVM refused to intercept hypercalls (KVM_XEN_HVM_CONFIG)")]
    XenConfig(#[source] errno::Error),
    /// The host kernel does not hand over the hypercall that carries ours.
    #[error(
        "this kernel's KVM cannot hand KVM_HC_MAP_GPA_RANGE to user space \
         (KVM_CAP_EXIT_HYPERCALL): it needs Linux 5.14 or later"
    )]
    NoHypercallExit,
    /// KVM refused to hand it over.
    #[error("KVM refused to hand over KVM_HC_MAP_GPA_RANGE (KVM_CAP_EXIT_HYPERCALL)")]
    HypercallExit(#[source] errno::Error),
    /// KVM refused to keep the guest from the interception's MSR.
    #[error("KVM refused to filter MSR {XEN_MSR:#x} (KVM_X86_SET_MSR_FILTER)")]
    MsrFilter(#[source] errno::Error),
    /// KVM refused to leave guest text alone.
    #[error(
        "KVM refused to disable the rewriting of hypercall instructions (KVM_CAP_DISABLE_QUIRKS2)"
    )]
    Quirk(#[source] errno::Error),
    /// The transport is of a kind that this library cannot deliver.
    #[error("transport '{0}' is not implemented by this host library")]
    NotImplemented(Transport),
}

/// Whether this kernel says it can intercept hypercalls. That it says so does not mean
/// that it works: see [`probe`](crate::probe).
pub fn claims_xen_interception(vm: &VmFd) -> bool {
    let flags = vm.check_extension_int(Cap::XenHvm);
    u32::try_from(flags).is_ok_and(|flags| flags & KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL != 0)
}

/// Makes calls over `transport` leave the kernel, for every vCPU of `vm`.
///
/// # Errors
///
/// [`InterceptError`] if KVM cannot.
pub fn enable(vm: &VmFd, transport: Transport) -> Result<(), InterceptError> {
    match transport {
        Transport::Instruction => intercept_instruction(vm),
        Transport::Carrier => hand_over_carrier(vm),
        Transport::Port => Ok(()),
        other => Err(InterceptError::NotImplemented(other)),
    }
}

fn intercept_instruction(vm: &VmFd) -> Result<(), InterceptError> {
    if !claims_xen_interception(vm) {
        return Err(InterceptError::NoXenInterception);
    }
    let config = kvm_xen_hvm_config {
        flags: KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL,
        msr: XEN_MSR,
        ..Default::default()
    };
    // SAFETY: `vm` is a VM's file descriptor, and the ioctl only reads `config`, whose
    // type is the one its number was made with.
    if unsafe { ioctl_with_ref(vm, request::KVM_XEN_HVM_CONFIG(), &config) } != 0 {
        return Err(InterceptError::XenConfig(errno::Error::last()));
    }
    deny_msr(vm)
}

fn hand_over_carrier(vm: &VmFd) -> Result<(), InterceptError> {
    const NUMBERS: u64 = 1 << carrier::NUMBER;
    let supported = vm.check_extension_raw(c_ulong::from(KVM_CAP_EXIT_HYPERCALL));
    if !u64::try_from(supported).is_ok_and(|numbers| numbers & NUMBERS != 0) {
        return Err(InterceptError::NoHypercallExit);
    }
    let mut capability = kvm_enable_cap {
        cap: KVM_CAP_EXIT_HYPERCALL,
        ..Default::default()
    };
    capability.args[0] = NUMBERS;
    vm.enable_cap(&capability)
        .map_err(InterceptError::HypercallExit)
}

/// Denies the guest the MSR of the interception; KVM answers it with #GP.
fn deny_msr(vm: &VmFd) -> Result<(), InterceptError> {
    if !vm.check_extension(Cap::X86MsrFilter) {
        return Ok(());
    }
    let denied = MsrFilterRange {
        flags: MsrFilterRangeFlags::READ | MsrFilterRangeFlags::WRITE,
        base: XEN_MSR,
        msr_count: 1,
        bitmap: &[0],
    };
    vm.set_msr_filter(MsrFilterDefaultAction::ALLOW, &[denied])
        .map_err(InterceptError::MsrFilter)
}

/// Whether this kernel can be told to leave guest text alone (Linux 5.17 and later).
pub fn can_disable_text_rewriting(vm: &VmFd) -> bool {
    let supported = vm.check_extension_raw(c_ulong::from(KVM_CAP_DISABLE_QUIRKS2));
    u32::try_from(supported).is_ok_and(|quirks| quirks & KVM_X86_QUIRK_FIX_HYPERCALL_INSN != 0)
}

/// Has KVM answer the wrong vendor's instruction with #UD, where it can, instead of
/// rewriting guest text, which faults on read-only text and can loop.
///
/// Where it [cannot](can_disable_text_rewriting), nothing is done and KVM rewrites: a
/// guest that executes the wrong instruction finds the processor's own in its place, and
/// its call arrives; if its text is not writable, it gets a fault.
///
/// # Errors
///
/// [`InterceptError::Quirk`] if KVM has the switch and refuses it.
pub fn disable_text_rewriting(vm: &VmFd) -> Result<(), InterceptError> {
    if !can_disable_text_rewriting(vm) {
        return Ok(());
    }
    let mut capability = kvm_enable_cap {
        cap: KVM_CAP_DISABLE_QUIRKS2,
        ..Default::default()
    };
    capability.args[0] = u64::from(KVM_X86_QUIRK_FIX_HYPERCALL_INSN);
    vm.enable_cap(&capability).map_err(InterceptError::Quirk)
}
