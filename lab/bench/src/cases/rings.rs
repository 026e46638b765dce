// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls of a unikernel through a ring: what one takes, against a call alone in the same VM,
//! and how many exits there are for a call. A call takes no exit while the host's thread
//! finds work, for which it needs a processor of its own.

use super::{leave_out, Outcome, Setting, EMULATES_KERNEL_CODE};
use crate::guest::run;
use hcall_abi::Transport;
use hcall_measurement::{Measurement, Unit};
use hcall_vmm::vmm::{End, TransportChoice, VmConfig};
use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const RUNS: usize = 5;
const CALLS: u64 = 100_000;
/// Where each takes 0.1 ms, since the guest is emulated.
const CALLS_EMULATED: u64 = 20_000;
const SINGLE_CALLS: u64 = 1_000;
/// Exits for a call, with two processors and more.
const EXITS_LIMIT: f64 = 0.01;

/// What a run says.
struct Times {
    /// Microseconds of a call alone, and of one through the ring.
    single: f64,
    ring: f64,
    /// Exits of a call through the ring.
    exits: f64,
}

pub(crate) fn measure(setting: &Setting) -> Result<Outcome, String> {
    if let Some(outcome) = setting.no_clock() {
        return Ok(outcome);
    }
    let Some(transport) = setting.probed.preferred() else {
        return Ok(Outcome::NotHere("no transport works".into()));
    };
    let calls = if setting.emulates_kernel_code() {
        CALLS_EMULATED
    } else {
        CALLS
    };
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(once(setting, transport, calls)?);
    }
    let of = |value: fn(&Times) -> f64| runs.iter().map(value).collect::<Vec<f64>>();
    let exits = format!("rings/{transport}, exits for a call through a ring");
    let exits = Measurement::median_of(exits, of(|run| run.exits), Unit::PerCall);
    let limited = |exits: Measurement| match available_parallelism().map_or(1, NonZero::get) {
        1 => exits,
        _ => exits.at_most(EXITS_LIMIT),
    };
    let mut measurements: Vec<Measurement> = exits.map(limited).into_iter().collect();
    let name = format!("rings/{transport}, a call through a ring");
    if setting.emulates_kernel_code() {
        leave_out(name, EMULATES_KERNEL_CODE);
        return Ok(Outcome::Measured(measurements));
    }
    let (ring, single) = (of(|run| run.ring), of(|run| run.single));
    let gains = of(|run| run.single / run.ring);
    let alone = format!("rings/{transport}, a call alone, in the same VM");
    let gain = format!("rings/{transport}, a call alone against one through a ring");
    measurements.extend(Measurement::median_of(name, ring, Unit::Microseconds));
    measurements.extend(Measurement::median_of(alone, single, Unit::Microseconds));
    measurements.extend(Measurement::median_of(gain, gains, Unit::Gain));
    Ok(Outcome::Measured(measurements))
}

fn once(setting: &Setting, transport: Transport, calls: u64) -> Result<Times, String> {
    let mut config = VmConfig::new(setting.guests.join("bench"));
    config.command_line = format!("ring {calls} {SINGLE_CALLS}");
    config.transport = TransportChoice::Only(transport);
    let ran = run(config, LIMIT)?;
    ran.expect_end(&End::Exit(0))?;
    let [single] = ran.figures("single")?;
    let [ring, exits] = ran.figures("ring")?;
    Ok(Times {
        single: single / 1e3 / SINGLE_CALLS as f64,
        ring: ring / 1e3 / calls as f64,
        exits: exits / calls as f64,
    })
}
