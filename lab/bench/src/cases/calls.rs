// SPDX-License-Identifier: MIT OR Apache-2.0
//! Single calls of a unikernel: how long one takes from its loop, and how many several
//! vCPUs make.

use super::{Outcome, Setting};
use crate::guest::run;
use hcall_abi::Transport;
use hcall_lab_contract::NO_OTHER_CPUS;
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
    let mut measurements = Vec::new();
    for transport in setting.working().iter() {
        let seconds = echo(setting, transport, VcpuCount::ONE, FIRST_CALLS)?
            .ok_or("one CPU must do, and did not")?;
        let calls = (RUN.as_secs_f64() / seconds * FIRST_CALLS as f64) as u64;
        let calls = calls.clamp(FIRST_CALLS, MOST_CALLS);
        for vcpus in vcpu_counts() {
            let mut times = Vec::new();
            for _ in 0..RUNS {
                times.extend(echo(setting, transport, vcpus, calls)?);
            }
            if times.is_empty() {
                println!("# {vcpus} vCPUs are left out: they do not start on this KVM");
                break;
            }
            let all = calls as f64 * f64::from(vcpus.get());
            let rates = times.iter().map(|seconds| all / seconds).collect();
            let name = format!("calls/{transport}, {vcpus} vCPU, all together");
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

/// 1, 2, 4 … as far as this machine has processors for them.
fn vcpu_counts() -> impl Iterator<Item = VcpuCount> {
    let processors = available_parallelism().map_or(1, NonZero::get);
    (0..u8::BITS)
        .map(|power| 1_u8 << power)
        .take_while(move |count| *count <= MOST_VCPUS && usize::from(*count) <= processors)
        .filter_map(|count| VcpuCount::new(count).ok())
}

/// Seconds that the calls took; `None` if KVM does not start the other vCPUs.
fn echo(
    setting: &Setting,
    transport: Transport,
    vcpus: VcpuCount,
    calls: u64,
) -> Result<Option<f64>, String> {
    let mut config = VmConfig::new(setting.guests.join("bench"));
    config.command_line = format!("echo {calls}");
    config.transport = TransportChoice::Only(transport);
    config.vcpus = vcpus;
    let ran = run(config, LIMIT)?;
    if ran.end == End::Exit(NO_OTHER_CPUS) {
        return Ok(None);
    }
    ran.expect_end(&End::Exit(0))?;
    Ok(Some(ran.calling.as_secs_f64()))
}
