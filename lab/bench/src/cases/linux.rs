// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls of processes in Linux: `hcall-bench-process` measures in the guest, and what it
//! says on the console is taken over.

use super::{Outcome, Setting};
use crate::guest::run;
use hcall_abi::Transport;
use hcall_measurement::Measurement;
use hcall_vmm::vmm::{End, MemorySize, TransportChoice, VmConfig};
use std::time::Duration;

/// What a boot and the measuring may take, nested and on busy cores.
const LIMIT: Duration = Duration::from_secs(240);

const COMMAND_LINE: &str = "console=ttyS0 panic=-1 reboot=k noxsave loglevel=1 lab.name=GUEST \
                            lab.end=reset lab.module=hcall.ko lab.exec=/bin/hcall-bench-process";

pub(crate) fn measure(setting: &Setting) -> Result<Outcome, String> {
    let Some(linux) = &setting.linux else {
        let reason = if setting.emulates_kernel_code() {
            "this KVM is software, on which Linux does not boot"
        } else {
            "there is no Linux in this image"
        };
        return Ok(Outcome::NotHere(reason.into()));
    };
    let mut measurements = Vec::new();
    for transport in [Transport::Instruction, Transport::Port] {
        if !setting.working().contains(transport) {
            continue;
        }
        let mut config = VmConfig::new(linux.join("vmlinux"));
        config.initrd = Some(linux.join("initrd"));
        config.memory = MemorySize::from_mebibytes(320).map_err(|error| error.to_string())?;
        config.transport = TransportChoice::Only(transport);
        let mode = if setting.tsc_counts_instructions {
            "instructions"
        } else {
            "time"
        };
        config.command_line = format!("{COMMAND_LINE},{mode}");
        let ran = run(config, LIMIT)?;
        ran.expect_end(&End::Reset)?;
        let before = measurements.len();
        measurements.extend(ran.console.lines().filter_map(Measurement::find));
        if measurements.len() == before {
            return Err(format!(
                "nothing was measured; the console:\n{}",
                ran.console
            ));
        }
    }
    if measurements.is_empty() {
        return Ok(Outcome::NotHere(
            "neither instruction nor port works".into(),
        ));
    }
    Ok(Outcome::Measured(measurements))
}
