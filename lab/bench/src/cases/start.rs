// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the start of the process `hcall-vmm` to the first hypercall of a unikernel, and
//! what of it passes in KVM.

use super::{is_emulated, leave_out, Outcome, Setting};
use crate::samples::least;
use crate::trace::{trace, SystemCall};
use hcall_measurement::{Measurement, Unit};
use std::collections::HashSet;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RUNS: usize = 25;
const TRACED_RUNS: usize = 10;

/// What may pass outside KVM besides the start of a process, in microseconds, on a machine
/// whose processor is no emulated one.
const LIMIT_MICROSECONDS: f64 = 2_000.0;

pub(crate) fn measure(setting: &Setting) -> Result<Outcome, String> {
    if let Some(outcome) = setting.no_clock() {
        return Ok(outcome);
    }
    let hello = || {
        let mut command = Command::new(&setting.vmm);
        command.arg("run").arg(setting.guests.join("hello"));
        command.stdin(Stdio::null());
        command
    };
    let mut totals = Vec::new();
    for _ in 0..RUNS {
        totals.push(microseconds(time_to_output(hello())?));
    }
    let mut parts: Vec<Parts> = Vec::new();
    for _ in 0..TRACED_RUNS {
        let traced = trace(hello().stdout(Stdio::null()))?;
        parts.push(Parts::of(&traced)?);
    }
    let least_of = |part: fn(&Parts) -> Duration| {
        let samples: Vec<f64> = parts
            .iter()
            .map(|parts| microseconds(part(parts)))
            .collect();
        least(&samples)
    };
    let (probe, build, run) = (
        least_of(|parts| parts.probe),
        least_of(|parts| parts.build),
        least_of(|parts| parts.run),
    );
    let total = least(&totals);
    let of = |name: &str, value| {
        Measurement::new(
            format!("start to first hypercall/{name} (least)"),
            value,
            Unit::Microseconds,
        )
    };
    let alone = process_alone(&setting.vmm)?;
    let outside = total - probe - build - run;
    let ours = of("outside KVM, less that process", outside - alone);
    let outside = of("outside KVM", outside);
    let mut measurements = vec![
        of("all", total),
        of("process that does nothing", alone),
        of("in KVM, for the probe", probe),
        of("in KVM, building the VM", build),
        of("in KVM, running to the call", run),
    ];
    if is_emulated() {
        // What ptrace takes there is more than what is measured: less than nothing was left.
        leave_out(outside.name, "ptrace is too slow on an emulated processor");
    } else {
        measurements.extend([outside, ours.at_most(LIMIT_MICROSECONDS)]);
    }
    measurements.extend(Measurement::median_of(
        "start to first hypercall/all",
        totals,
        Unit::Microseconds,
    ));
    Ok(Outcome::Measured(measurements))
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// From before the process exists to its first byte, which is the first hypercall's.
fn time_to_output(mut command: Command) -> Result<Duration, String> {
    let say = |error: std::io::Error| error.to_string();
    let start = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(say)?;
    let mut output = child.stdout.take().ok_or("no output")?;
    let first = output.read(&mut [0]).map_err(say)?;
    let time = start.elapsed();
    // What else it prints must not be lost to a closed pipe.
    output.read_to_end(&mut Vec::new()).map_err(say)?;
    let status = child.wait().map_err(say)?;
    if first == 0 || !status.success() {
        return Err(format!("{command:?}: {status}"));
    }
    Ok(time)
}

/// What the process takes to start, say a line, and end.
fn process_alone(vmm: &Path) -> Result<f64, String> {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let mut command = Command::new(vmm);
        command.arg("--version");
        times.push(microseconds(time_to_output(command)?));
    }
    Ok(least(&times))
}

/// What passed in KVM's system calls until the first hypercall was answered.
#[derive(Debug)]
struct Parts {
    probe: Duration,
    build: Duration,
    run: Duration,
}

impl Parts {
    fn of(calls: &[SystemCall]) -> Result<Self, String> {
        let end = calls.iter().position(SystemCall::prints);
        let calls = &calls[..end.ok_or("no hypercall printed anything")?];
        let last_vm = calls.iter().rposition(SystemCall::makes_vm);
        let (probe, vm) = calls.split_at(last_vm.ok_or("no VM was made")?);
        let told = telling(calls);
        let sum = |calls: &[SystemCall], which: &dyn Fn(&SystemCall) -> bool| {
            let chosen = calls.iter().filter(|call| which(call));
            chosen.map(|call| call.duration.saturating_sub(told)).sum()
        };
        let files: HashSet<u64> = probe
            .iter()
            .filter(|call| call.makes_vm() || call.makes_vcpu())
            .filter_map(|call| u64::try_from(call.result).ok())
            .collect();
        let in_kvm = |call: &SystemCall| {
            call.is_kvm_ioctl() || call.closes().is_some_and(|file| files.contains(&file))
        };
        Ok(Self {
            probe: sum(probe, &in_kvm),
            build: sum(vm, &|call| in_kvm(call) && !call.is_kvm_run()),
            run: sum(vm, &SystemCall::is_kvm_run),
        })
    }
}

/// What it takes the tracer to be told of a call: the least that an ioctl of KVM took.
fn telling(calls: &[SystemCall]) -> Duration {
    let ioctls = calls.iter().filter(|call| call.is_kvm_ioctl());
    ioctls.map(|call| call.duration).min().unwrap_or_default()
}
