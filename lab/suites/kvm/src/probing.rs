// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the probe says of this machine, and how fast.

use hcall_abi::convention::TrapInstruction;
use hcall_abi::{Transport, TransportSet};
use hcall_ktap::{CaseResult, Suite, Verdict};
use hcall_vmm::probe::{probe, Report};
use kvm_ioctls::Kvm;
use std::time::{Duration, Instant};

/// What the probe may take: the time in which a person wants an answer.
const LIMIT: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_millis(500);

fn run_probe() -> Result<Report, String> {
    let kvm = Kvm::new().map_err(|error| format!("cannot open /dev/kvm: {error}"))?;
    Ok(probe(&kvm, DEADLINE))
}

/// The transports that work here.
pub(crate) fn probe_working() -> Result<TransportSet, String> {
    Ok(run_probe()?.working())
}

/// Whether KVM here is a software implementation, without the processor's help.
pub(crate) fn is_software() -> Result<bool, String> {
    Ok(run_probe()?.virtualization.is_none())
}

/// The trap instruction of the processor's vendor.
pub(crate) fn native_instruction() -> Result<TrapInstruction, String> {
    run_probe()?
        .instruction
        .ok_or_else(|| "the processor's vendor is unknown".into())
}

pub(crate) fn add_cases<'a>(mut suite: Suite<'a>, required: &[Transport]) -> Suite<'a> {
    suite = suite.case("probe: answers within 2 s", || {
        let start = Instant::now();
        let report = run_probe()?;
        let took = start.elapsed();
        for line in report.to_string().lines() {
            println!("# {line}");
        }
        check(took < LIMIT, || format!("took {took:?}"))
    });
    for transport in required.iter().copied() {
        suite = suite.case(format!("probe: {transport} works here"), move || {
            let report = run_probe()?;
            check(report.working().contains(transport), || report.to_string())
        });
    }
    suite
}

fn check(holds: bool, otherwise: impl FnOnce() -> String) -> CaseResult {
    if holds {
        Ok(Verdict::Pass)
    } else {
        Err(otherwise())
    }
}
