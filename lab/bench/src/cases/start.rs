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
/// Another pass is made while the limit is exceeded, so many at most: what else the machine
/// does for some seconds only adds to a time, and the least of all passes is what counts.
const PASSES: usize = 8;

/// What may pass outside KVM besides the start of a process, in microseconds, on a machine
/// whose processor is no emulated one.
const LIMIT_MICROSECONDS: f64 = 2_000.0;

pub(crate) fn measure(setting: &Setting) -> Result<Outcome, String> {
    if let Some(outcome) = setting.no_clock() {
        return Ok(outcome);
    }
    // What ptrace takes on an emulated processor is more than what is measured.
    let limit = (!is_emulated()).then_some(LIMIT_MICROSECONDS);
    let mut samples = Samples::default();
    for _ in 0..PASSES {
        samples.take(setting)?;
        if limit.is_none_or(|limit| samples.ours() <= limit) {
            break;
        }
    }
    let of = |name: &str, value| {
        Measurement::new(
            format!("start to first hypercall/{name} (least)"),
            value,
            Unit::Microseconds,
        )
    };
    let mut measurements = vec![
        of("all", least(&samples.totals)),
        of("process that does nothing", least(&samples.alone)),
        of("in KVM, for the probe", samples.part(|parts| parts.probe)),
        of("in KVM, building the VM", samples.part(|parts| parts.build)),
        of(
            "in KVM, running to the call",
            samples.part(|parts| parts.run),
        ),
    ];
    let outside = of("outside KVM", samples.outside());
    match limit {
        // Less than nothing was left.
        None => leave_out(outside.name, "ptrace is too slow on an emulated processor"),
        Some(limit) => {
            let ours = of("outside KVM, less that process", samples.ours());
            measurements.extend([outside, ours.at_most(limit)]);
        }
    }
    measurements.extend(Measurement::median_of(
        "start to first hypercall/all",
        samples.totals,
        Unit::Microseconds,
    ));
    Ok(Outcome::Measured(measurements))
}

/// What was timed so far, in microseconds.
#[derive(Debug, Default)]
struct Samples {
    /// From the start of the process to the first hypercall.
    totals: Vec<f64>,
    /// A process that does nothing else.
    alone: Vec<f64>,
    parts: Vec<Parts>,
}

impl Samples {
    /// Takes those of one more pass.
    fn take(&mut self, setting: &Setting) -> Result<(), String> {
        let hello = || {
            let mut command = Command::new(&setting.vmm);
            command.arg("run").arg(setting.guests.join("hello"));
            command.stdin(Stdio::null());
            command
        };
        for _ in 0..RUNS {
            self.totals.push(microseconds(time_to_output(hello())?));
        }
        for _ in 0..TRACED_RUNS {
            let traced = trace(hello().stdout(Stdio::null()))?;
            self.parts.push(Parts::of(&traced)?);
        }
        for _ in 0..RUNS {
            self.alone.push(process_alone(&setting.vmm)?);
        }
        Ok(())
    }

    /// The least that a part took.
    fn part(&self, part: fn(&Parts) -> Duration) -> f64 {
        let samples = self.parts.iter().map(|parts| microseconds(part(parts)));
        least(&samples.collect::<Vec<_>>())
    }

    fn outside(&self) -> f64 {
        let parts: [fn(&Parts) -> Duration; 3] =
            [|parts| parts.probe, |parts| parts.build, |parts| parts.run];
        let inside: f64 = parts.into_iter().map(|part| self.part(part)).sum();
        least(&self.totals) - inside
    }

    /// What is neither KVM's nor that of any process.
    fn ours(&self) -> f64 {
        self.outside() - least(&self.alone)
    }
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
    let mut command = Command::new(vmm);
    command.arg("--version");
    Ok(microseconds(time_to_output(command)?))
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
