// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many instructions the SDK executes for a call besides the trap, in a unikernel.

use super::{Outcome, Setting};
use crate::guest::run;
use hcall_abi::Transport;
use hcall_measurement::{Measurement, Unit};
use hcall_vmm::vmm::{End, TransportChoice, VmConfig};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
/// How many instructions the SDK may execute for a call, besides the trap.
const LIMIT_SDK: f64 = 25.0;

pub(crate) fn measure(setting: &Setting) -> Result<Outcome, String> {
    if !setting.tsc_counts_instructions {
        let reason = "the time-stamp counter counts time here, not instructions";
        return Ok(Outcome::NotHere(reason.into()));
    }
    let mut measurements = Vec::new();
    // The guest's bare trap is no carrier.
    for transport in [Transport::Instruction, Transport::Port] {
        if !setting.working().contains(transport) {
            continue;
        }
        let mut config = VmConfig::new(setting.guests.join("bench"));
        config.command_line = "instructions".into();
        config.transport = TransportChoice::Only(transport);
        let ran = run(config, LIMIT)?;
        ran.expect_end(&End::Exit(0))?;
        for line in ran.console.lines() {
            let (what, count) = line.split_once(' ').ok_or_else(|| line.to_owned())?;
            let count: f64 = count.parse().map_err(|_| line.to_owned())?;
            let unit = Unit::Instructions;
            measurements.push(match what {
                "trap" => {
                    let name = format!("instructions of everybody for an exit/{transport}");
                    Measurement::new(name, count, unit)
                }
                _ => {
                    let name =
                        format!("instructions of the SDK/{what} in a unikernel, {transport}");
                    Measurement::new(name, count, unit).at_most(LIMIT_SDK)
                }
            });
        }
    }
    Ok(Outcome::Measured(measurements))
}
