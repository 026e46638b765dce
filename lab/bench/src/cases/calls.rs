// SPDX-License-Identifier: MIT OR Apache-2.0
//! Single calls of a unikernel: how long one takes from its loop, and how many several
//! vCPUs make.

use super::{leave_out, Outcome, Setting};
use crate::guest::run;
use hcall_abi::Transport;
use hcall_measurement::{Measurement, Unit};
use hcall_vmm::vmm::{End, TransportChoice, VcpuCount, VmConfig};
use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
/// The first run says how many calls take about this long.
const RUN: Duration = Duration::from_millis(200);
const FIRST_CALLS: u64 = 200;
const MOST_CALLS: u64 = 1_000_000;
const RUNS: usize = 5;
const MOST_VCPUS: u8 = 8;

pub(crate) fn measure(setting: &Setting) -> Result<Outcome, String> {
    if let Some(outcome) = setting.no_time_in_guests() {
        return Ok(outcome);
    }
    let processors = available_parallelism().map_or(1, NonZero::get);
    let mut measurements = Vec::new();
    for transport in setting.working().iter() {
        let seconds = echo(setting, transport, VcpuCount::ONE, FIRST_CALLS)?;
        let calls = (RUN.as_secs_f64() / seconds * FIRST_CALLS as f64) as u64;
        let calls = calls.clamp(FIRST_CALLS, MOST_CALLS);
        for vcpus in vcpu_counts() {
            let name = format!("calls/{transport}, {vcpus} vCPU, all together");
            if usize::from(vcpus.get()) > processors {
                leave_out(name, format!("this machine has {processors} processors"));
                continue;
            }
            let mut times = Vec::new();
            for _ in 0..RUNS {
                times.push(echo(setting, transport, vcpus, calls)?);
            }
            let all = calls as f64 * f64::from(vcpus.get());
            let rates = times.iter().map(|seconds| all / seconds).collect();
            measurements.extend(Measurement::median_of(name, rates, Unit::PerSecond));
            if vcpus == VcpuCount::ONE {
                let each = times.iter().map(|seconds| seconds * 1e6 / all).collect();
                let name = format!("calls/{transport}, from the guest's loop");
                measurements.extend(Measurement::median_of(name, each, Unit::Microseconds));
            }
        }
    }
    Ok(Outcome::Measured(measurements))
}

/// 1, 2, 4 …
fn vcpu_counts() -> impl Iterator<Item = VcpuCount> {
    (0..u8::BITS)
        .map(|power| 1_u8 << power)
        .take_while(|count| *count <= MOST_VCPUS)
        .filter_map(|count| VcpuCount::new(count).ok())
}

/// Seconds that the calls took.
fn echo(
    setting: &Setting,
    transport: Transport,
    vcpus: VcpuCount,
    calls: u64,
) -> Result<f64, String> {
    let mut config = VmConfig::new(setting.guests.join("bench"));
    config.command_line = format!("echo {calls}");
    config.transport = TransportChoice::Only(transport);
    config.vcpus = vcpus;
    let ran = run(config, LIMIT)?;
    ran.expect_end(&End::Exit(0))?;
    Ok(ran.calling.as_secs_f64())
}
