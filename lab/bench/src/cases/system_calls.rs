// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls for each hypercall, counted: a VM that makes more calls makes as many more
//! system calls, each of them KVM_RUN.

use super::{Outcome, Setting};
use crate::trace::{trace, SystemCall};
use hcall_abi::Transport;
use hcall_measurement::{Measurement, Unit};
use std::collections::HashMap;
use std::process::{Command, Stdio};

/// Two numbers of hypercalls: what the VM does besides is in both.
const FEW: u64 = 200;
const MANY: u64 = 1_200;

pub(crate) fn measure(setting: &Setting) -> Result<Outcome, String> {
    let mut measurements = Vec::new();
    for transport in setting.working().iter() {
        measurements.extend(measure_over(transport, setting)?);
    }
    Ok(Outcome::Measured(measurements))
}

/// What the vCPU's thread asked of the kernel, from its first KVM_RUN to its last.
#[derive(Clone, Copy, Debug)]
struct Count {
    runs: u64,
    all: u64,
}

fn measure_over(transport: Transport, setting: &Setting) -> Result<Vec<Measurement>, String> {
    let few = count(transport, FEW, setting)?;
    let many = count(transport, MANY, setting)?;
    let more = (MANY - FEW) as f64;
    let per_call = |few: u64, many: u64| (many as f64 - few as f64) / more;
    let runs = per_call(few.runs, many.runs);
    let all = per_call(few.all, many.all);
    let name = format!("system calls for a hypercall/{transport}");
    if runs != 1.0 || all != 1.0 {
        return Err(format!(
            "{name}: {few:?} for {FEW} hypercalls, {many:?} for {MANY}: one more KVM_RUN \
             for each was due, and nothing else"
        ));
    }
    Ok(vec![Measurement::new(name, all, Unit::Count).at_most(1.0)])
}

fn count(transport: Transport, calls: u64, setting: &Setting) -> Result<Count, String> {
    let traced = trace(
        Command::new(&setting.vmm)
            .args(["run", "--transport", transport.name(), "--append"])
            .arg(format!("echo {calls}"))
            .arg(setting.guests.join("bench"))
            .stdin(Stdio::null())
            .stdout(Stdio::null()),
    )?;
    let mut runs: HashMap<_, u64> = HashMap::new();
    for call in traced.iter().filter(|call| call.is_kvm_run()) {
        *runs.entry(call.thread).or_default() += 1;
    }
    // The probe's VMs have had threads as well, with a few runs.
    let (vcpu, runs) = runs
        .into_iter()
        .max_by_key(|(_, runs)| *runs)
        .ok_or("no vCPU ran")?;
    let of_vcpu: Vec<_> = traced.iter().filter(|call| call.thread == vcpu).collect();
    let is_run = |call: &&SystemCall| call.is_kvm_run();
    let (first, last) = (
        of_vcpu.iter().position(is_run).unwrap_or_default(),
        of_vcpu.iter().rposition(is_run).unwrap_or_default(),
    );
    let all = (last + 1 - first) as u64;
    Ok(Count { runs, all })
}
