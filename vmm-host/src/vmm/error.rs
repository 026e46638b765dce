// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a VM could not be built or run.

use super::config::VcpuCount;
use super::loader::LoadError;
use super::memory::MemoryError;
use crate::cpuid::CpuidError;
use crate::intercept::InterceptError;
use crate::probe::Report;
use hcall_abi::Transport;
use std::path::PathBuf;

/// Why a VM could not be built or run. The text says what was wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VmError {
    /// The KVM device cannot be opened.
    #[error("cannot open {path}: {hint}")]
    OpenKvm {
        /// The device.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// It was opened, and is no KVM that this VMM knows.
    #[error("{path} speaks version {version} of the KVM API, not 12: it is not a usable KVM")]
    NotKvm {
        /// The device.
        path: PathBuf,
        /// What it answered to KVM_GET_API_VERSION.
        version: i32,
    },
    /// The kernel lacks something that the VMM cannot do without.
    #[error("this kernel's KVM is too old: it lacks {0}")]
    MissingCapability(&'static str),
    /// The one transport that was asked for does not work here.
    #[error("transport '{transport}' does not work on this machine: {reason}")]
    TransportDoesNotWork {
        /// What was asked for.
        transport: Transport,
        /// What the probe saw.
        reason: String,
    },
    /// None works, and the guest was to have one.
    #[error("no transport works on this machine:\n{0}")]
    NoTransport(Box<Report>),
    /// KVM runs fewer vCPUs in a VM than were asked for.
    #[error("this machine's KVM runs at most {limit} vCPUs in a VM; {wanted} were asked for")]
    TooManyVcpus {
        /// How many were asked for.
        wanted: VcpuCount,
        /// KVM_CAP_MAX_VCPUS.
        limit: usize,
    },
    /// A request to KVM failed.
    #[error("KVM failed to {action}")]
    Kvm {
        /// What it was to do.
        action: &'static str,
        /// Why.
        source: kvm_ioctls::Error,
    },
    /// A request to the operating system failed.
    #[error("cannot {action}")]
    System {
        /// What was to be done.
        action: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// See [`InterceptError`].
    #[error(transparent)]
    Intercept(#[from] InterceptError),
    /// See [`CpuidError`].
    #[error(transparent)]
    Cpuid(#[from] CpuidError),
    /// Guest memory could not be had.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The guest could not be put into it.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A thread of the VMM panicked: a defect of ours.
    #[error("a vCPU thread panicked; this is a defect of the VMM")]
    ThreadPanicked,
}

/// Names the action whose failure an error of KVM is.
pub(super) fn kvm(action: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> VmError {
    move |source| VmError::Kvm { action, source }
}

/// Names the action whose failure an error of the operating system is.
pub(super) fn system(action: &'static str) -> impl FnOnce(std::io::Error) -> VmError {
    move |source| VmError::System { action, source }
}
