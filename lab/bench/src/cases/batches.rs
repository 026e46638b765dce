// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls of a unikernel in batches of different sizes: what one takes, batches filled and
//! read included, against a call alone.

use super::{Outcome, Setting};
use crate::guest::run;
use hcall_abi::Transport;
use hcall_measurement::{Measurement, Unit};
use hcall_vmm::vmm::{End, TransportChoice, VmConfig};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const SIZES: [u64; 5] = [1, 4, 16, 64, 256];
/// The first run says how many calls take about this long.
const RUN: Duration = Duration::from_millis(100);
const FIRST_BATCHES: u64 = 50;
const MOST_BATCHES: u64 = 100_000;
const RUNS: usize = 3;

pub(crate) fn measure(setting: &Setting) -> Result<Outcome, String> {
    if let Some(outcome) = setting.no_time_in_guests() {
        return Ok(outcome);
    }
    let Some(transport) = setting.probed.preferred() else {
        return Ok(Outcome::NotHere("no transport works".into()));
    };
    let alone = microseconds(setting, transport, |count| format!("echo {count}"))?;
    let named = |name: &str| format!("batches/{transport}, {name}");
    let mut measurements = Vec::new();
    for size in SIZES {
        let batches = |count| format!("batch {count} {size}");
        let each = microseconds(setting, transport, batches)? / size as f64;
        let name = named(&format!("a call in a batch of {size}"));
        measurements.push(Measurement::new(name, each, Unit::Microseconds));
        let name = named(&format!("a call alone against one in a batch of {size}"));
        measurements.push(Measurement::new(name, alone / each, Unit::Gain));
    }
    Ok(Outcome::Measured(measurements))
}

/// Microseconds for one of the things that `command` makes the guest do so many of: the
/// least of a few runs.
fn microseconds(
    setting: &Setting,
    transport: Transport,
    command: impl Fn(u64) -> String,
) -> Result<f64, String> {
    let once = |count: u64| -> Result<f64, String> {
        let mut config = VmConfig::new(setting.guests.join("bench"));
        config.command_line = command(count);
        config.transport = TransportChoice::Only(transport);
        let ran = run(config, LIMIT)?;
        ran.expect_end(&End::Exit(0))?;
        Ok(ran.calling.as_secs_f64() * 1e6 / count as f64)
    };
    let first = once(FIRST_BATCHES)?;
    let count = (RUN.as_secs_f64() * 1e6 / first) as u64;
    let count = count.clamp(FIRST_BATCHES, MOST_BATCHES);
    let mut least = first;
    for _ in 0..RUNS {
        least = least.min(once(count)?);
    }
    Ok(least)
}
