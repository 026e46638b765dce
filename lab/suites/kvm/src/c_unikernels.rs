// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unikernels in C, which link the SDK's `libhcall_guest.a`: the example, and one that tests
//! the library from inside.

use crate::handlers::lock;
use crate::unikernels::{add_each, equal, Case, Setting};
use hcall_abi::{Errno, Transport};
use hcall_ktap::{CaseResult, Suite, Verdict};
use std::path::Path;
use std::process::Command;

const HELLO: &str = "hello from a unikernel in C\n";
const PARAMETERS: [u64; 3] = [1, 2, 3];
/// How often the tests call PRINT.
const PRINTED: usize = 100;

pub(crate) fn add_cases<'a>(
    suite: Suite<'a>,
    guests: &Path,
    transport: Transport,
    wanted: bool,
) -> Suite<'a> {
    let cases: [(&str, Case); 2] = [
        ("a unikernel in C", example),
        ("the library for C keeps registers and answers", library),
    ];
    add_each(suite, guests, transport, wanted, cases)
}

fn example(setting: &Setting) -> CaseResult {
    let run = setting.run_well("unikernel-c", "")?;
    equal("console", run.console.as_str(), HELLO)?;
    equal("PRINT", lock(&run.record.printed).as_slice(), &[PARAMETERS])?;
    equal("calls: CONSOLE_WRITE, PRINT, EXIT", run.stats.calls, 3)?;
    Ok(Verdict::Pass)
}

fn library(setting: &Setting) -> CaseResult {
    let run = setting.run_well("c-registers", "")?;
    let printed = lock(&run.record.printed).clone();
    equal("PRINT", printed, vec![PARAMETERS; PRINTED])?;
    Ok(Verdict::Pass)
}

/// `hcall-vmm` has no handler for PRINT: the example's exit status says so.
pub(crate) fn add_command_case<'a>(
    suite: Suite<'a>,
    vmm: &Path,
    guests: &Path,
    wanted: bool,
) -> Suite<'a> {
    let (vmm, guest) = (vmm.to_owned(), guests.join("unikernel-c"));
    suite.case("hcall-vmm: boots a unikernel in C", move || {
        if !wanted {
            return Ok(Verdict::Skip("no transport works on this machine".into()));
        }
        let output = Command::new(&vmm)
            .arg("run")
            .arg(&guest)
            .output()
            .map_err(|error| format!("cannot run {}: {error}", vmm.display()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let status = i32::from(Errno::ENOSYS.get());
        if output.status.code() == Some(status) && said == HELLO {
            return Ok(Verdict::Pass);
        }
        let complained = String::from_utf8_lossy(&output.stderr);
        Err(format!("{}: {said}{complained}", output.status))
    })
}
