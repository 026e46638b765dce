// SPDX-License-Identifier: MIT OR Apache-2.0
//! What works on this machine, found by doing it.
//!
//! Capability bits are not proof: where /dev/kvm is a software implementation, KVM can
//! accept every request and still never deliver VMMCALL, or run it for ever. So each
//! transport is tried: a throw-away VM makes two calls over it, under a deadline.

mod throwaway;

use hcall_abi::convention::TrapInstruction;
use hcall_abi::cpuid::CpuidRegisters;
use hcall_abi::{Transport, TransportSet};
use kvm_bindings::KVM_MAX_CPUID_ENTRIES;
use kvm_ioctls::Kvm;
use std::fmt;
use std::time::Duration;
use throwaway::Failure;

/// What was found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Version of KVM's API; 12 everywhere.
    pub api_version: i32,
    /// The processor's vendor, as the guest sees it.
    pub vendor: [u8; 12],
    /// The vendor's trap instruction, if the vendor is known.
    pub instruction: Option<TrapInstruction>,
    /// The processor's virtualization, if this kernel sees any.
    pub virtualization: Option<Virtualization>,
    /// Each transport, in order of preference, and whether it worked.
    pub transports: Vec<(Transport, Verdict)>,
}

/// A processor's support for virtual machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Virtualization {
    /// AMD's.
    Svm,
    /// Intel's.
    Vmx,
}

/// Whether a transport worked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Both calls arrived with their arguments, and were answered; the second took this
    /// long from exit to exit.
    Works(Duration),
    /// It did not work, for this reason.
    Fails(String),
}

impl Report {
    /// The transports that worked.
    pub fn working(&self) -> TransportSet {
        self.transports
            .iter()
            .filter(|(_, verdict)| matches!(verdict, Verdict::Works(_)))
            .fold(TransportSet::EMPTY, |set, (transport, _)| {
                set.with(*transport)
            })
    }

    /// The one that a VM would be offered first.
    pub fn preferred(&self) -> Option<Transport> {
        self.working().preferred()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vendor = String::from_utf8_lossy(&self.vendor);
        let instruction = self.instruction.map_or("none known", TrapInstruction::name);
        let virtualization = match self.virtualization {
            Some(Virtualization::Svm) => "SVM",
            Some(Virtualization::Vmx) => "VMX",
            None => "neither SVM nor VMX: KVM here is a software implementation",
        };
        writeln!(formatter, "KVM API version:  {}", self.api_version)?;
        writeln!(formatter, "processor:        {vendor} ({virtualization})")?;
        writeln!(formatter, "trap instruction: {instruction}")?;
        for (transport, verdict) in &self.transports {
            match verdict {
                Verdict::Works(time) => writeln!(
                    formatter,
                    "  {transport:<12} works ({:.1} us a call)",
                    time.as_secs_f64() * 1e6
                )?,
                Verdict::Fails(reason) => {
                    writeln!(formatter, "  {transport:<12} does not work: {reason}")?;
                }
            }
        }
        match self.preferred() {
            Some(transport) => write!(formatter, "would offer first: {transport}"),
            None => write!(
                formatter,
                "no transport works: guests can make no hypercall here"
            ),
        }
    }
}

/// Tries every transport that this library has, each for at most `deadline`.
pub fn probe(kvm: &Kvm, deadline: Duration) -> Report {
    let vendor = cpuid(0).vendor();
    let instruction = TrapInstruction::for_vendor(vendor);
    // Asked once: it is among the slowest of KVM's answers.
    let supported = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES);
    let attempt = |transport| -> Result<Duration, Failure> {
        let cpuid = supported.as_ref().map_err(|error| Failure::Kvm(*error))?;
        throwaway::try_transport(kvm, transport, instruction, cpuid, deadline)
    };
    let transports = Transport::ALL
        .map(|transport| {
            let verdict = attempt(transport).map_or_else(
                |failure| Verdict::Fails(failure.to_string()),
                Verdict::Works,
            );
            (transport, verdict)
        })
        .to_vec();
    Report {
        api_version: kvm.get_api_version(),
        vendor,
        instruction,
        virtualization: virtualization(),
        transports,
    }
}

/// SVM or VMX, by their CPUID bits (APM volume 3, appendix E.4.2; SDM volume 2, CPUID).
fn virtualization() -> Option<Virtualization> {
    const HIGHEST_EXTENDED_LEAF: u32 = 0x8000_0000;
    const EXTENDED_FEATURES_LEAF: u32 = 0x8000_0001;
    const SVM_BIT: u32 = 1 << 2;
    const VMX_BIT: u32 = 1 << 5;
    let has_extended = cpuid(HIGHEST_EXTENDED_LEAF).eax >= EXTENDED_FEATURES_LEAF;
    if has_extended && cpuid(EXTENDED_FEATURES_LEAF).ecx & SVM_BIT != 0 {
        return Some(Virtualization::Svm);
    }
    (cpuid(1).ecx & VMX_BIT != 0).then_some(Virtualization::Vmx)
}

fn cpuid(leaf: u32) -> CpuidRegisters {
    // `__cpuid` is unsafe at the minimum Rust version and safe in later ones.
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 processor has CPUID, and it touches no memory.
    let registers = unsafe { std::arch::x86_64::__cpuid(leaf) };
    CpuidRegisters {
        eax: registers.eax,
        ebx: registers.ebx,
        ecx: registers.ecx,
        edx: registers.edx,
    }
}
