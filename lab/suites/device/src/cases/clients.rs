// SPDX-License-Identifier: MIT OR Apache-2.0
//! The client suite, run by every client there is: in Rust, in C, and in C for 32 bits.

use hcall_ktap::{CaseResult, Suite, Verdict};
use hcall_suite_client::{CASES, UNCHECKED_CASES};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The clients by name, and the cases of each.
const CLIENTS: [(&str, &[&[&str]]); 3] = [
    ("rust", &[&CASES]),
    ("c", &[&CASES, &UNCHECKED_CASES]),
    ("c-32", &[&CASES, &UNCHECKED_CASES]),
];

pub(super) fn add<'a>(mut suite: Suite<'a>, directory: &Path) -> Suite<'a> {
    for (client, lists) in CLIENTS {
        let program = directory.join(client);
        for case in lists.iter().copied().flatten().copied() {
            let program = program.clone();
            suite = suite.case(format!("client in {client}: {case}"), move || {
                run(&program, case)
            });
        }
    }
    suite
}

fn run(program: &PathBuf, case: &str) -> CaseResult {
    let output = Command::new(program)
        .arg(case)
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(Verdict::Pass);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Err(format!("{} ({})", text.trim_end(), output.status))
}
