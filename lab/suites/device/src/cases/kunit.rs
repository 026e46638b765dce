// SPDX-License-Identifier: MIT OR Apache-2.0
//! The module's own tests, which a kernel with KUnit has run when the module was loaded.

use crate::failure::Failure;
use hcall_ktap::{Report, Suite};
use std::fs;

const DIRECTORY: &str = "/sys/kernel/debug/kunit";

/// How the names of the module's suites begin.
const PREFIX: &str = "hcall_";

pub(super) fn add(suite: Suite<'_>) -> Suite<'_> {
    suite.case_with_subtests("the module's own tests (KUnit)", || {
        results().map_err(|failure| failure.to_string())
    })
}

/// The results of all its suites, one after the other.
fn results() -> Result<Report, Failure> {
    let mut names = Vec::new();
    let error = |error| Failure::new(format!("{DIRECTORY}: {error}"));
    for entry in fs::read_dir(DIRECTORY).map_err(error)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(PREFIX) {
            names.push(name);
        }
    }
    names.sort();
    let mut all = Report::default();
    for name in names {
        let text = fs::read_to_string(format!("{DIRECTORY}/{name}/results"))?;
        all.tests.extend(Report::parse(text.lines()).tests);
    }
    Ok(all)
}
