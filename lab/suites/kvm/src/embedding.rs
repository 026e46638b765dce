// SPDX-License-Identifier: MIT OR Apache-2.0
//! The example of a VMM of one's own: two VMs in one process, each with its own handlers.

use hcall_abi::{Transport, TransportSet};
use hcall_ktap::{Suite, Verdict};
use std::path::Path;
use std::process::Command;

/// 2 + 40 and 2 × 40, as the guests' exit statuses.
const SAID: &str = "one VM ended: the guest exited with status 42\n\
                    the other VM ended: the guest exited with status 80\n";

pub(crate) fn add_case<'a>(suite: Suite<'a>, example: &Path, working: TransportSet) -> Suite<'a> {
    let example = example.to_owned();
    suite.case("the example of a VMM of one's own", move || {
        // Its guest is in 16-bit mode, where there is no carrier.
        if ![Transport::Instruction, Transport::Port]
            .into_iter()
            .any(|transport| working.contains(transport))
        {
            let reason = "neither the instruction nor the port works on this machine's KVM";
            return Ok(Verdict::Skip(reason.into()));
        }
        let output = Command::new(&example)
            .output()
            .map_err(|error| format!("cannot run {}: {error}", example.display()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        if output.status.success() && said == SAID {
            return Ok(Verdict::Pass);
        }
        let complained = String::from_utf8_lossy(&output.stderr);
        Err(format!("{}: {said}{complained}", output.status))
    })
}
