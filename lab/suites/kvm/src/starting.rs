// SPDX-License-Identifier: MIT OR Apache-2.0
//! A unikernel starts the other CPUs, however many there are: KVM treats the vCPU that was
//! made last otherwise than the others, which shows where it is the only other one.

use crate::handlers::Arguments;
use crate::running::run;
use hcall_abi::TransportSet;
use hcall_ktap::{Suite, Verdict};
use hcall_vmm::vmm::{End, TransportChoice, VcpuCount, VmConfig};
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const COUNTS: [u8; 3] = [2, 3, 4];

pub(crate) fn add_cases<'a>(
    mut suite: Suite<'a>,
    guests: &Path,
    working: TransportSet,
) -> Suite<'a> {
    for count in COUNTS {
        let kernel = guests.join("bench");
        let name = format!("{count} vCPUs: the first starts each of the others");
        suite = suite.case(name, move || {
            let Some(transport) = working.iter().next() else {
                let reason = "no transport works on this machine's KVM";
                return Ok(Verdict::Skip(reason.into()));
            };
            let mut config = VmConfig::new(&kernel);
            config.command_line = "echo 10".into();
            config.vcpus = VcpuCount::new(count).map_err(|error| error.to_string())?;
            config.transport = TransportChoice::Only(transport);
            let run = run(config, Arguments::Any, LIMIT, |_| {})?;
            run.expect_end(&End::Exit(0))?;
            Ok(Verdict::Pass)
        });
    }
    suite
}
