// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers that were taken over, in a VMM that is confined, and in one that is not.

use crate::attempts::{ATTEMPTS, HARMLESS};
use hcall_abi::{Transport, TransportSet};
use hcall_ktap::{CaseResult, Suite, Verdict};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The threads that run handlers.
const THREADS: [&str; 2] = ["vcpu-0", "ring-0"];

#[derive(Clone, Debug)]
struct Setting {
    vmm: PathBuf,
    guests: PathBuf,
    transport: Option<Transport>,
}

pub(crate) fn add_cases<'a>(
    suite: Suite<'a>,
    vmm: &Path,
    guests: &Path,
    working: TransportSet,
) -> Suite<'a> {
    let confined = Setting {
        vmm: vmm.into(),
        guests: guests.into(),
        transport: working.iter().next(),
    };
    let unconfined = confined.clone();
    suite
        .case(
            "sandbox: a handler that was taken over gets no file, no socket, no process",
            move || confined.everything_is_refused(),
        )
        .case(
            "sandbox: with --no-sandbox the same handler gets them",
            move || unconfined.harmless_attempts_succeed(),
        )
}

impl Setting {
    /// What came of the first `count` attempts, by thread and outcome.
    fn outcomes(&self, options: &[&str], count: usize) -> Result<Outcomes, String> {
        let output = Command::new(&self.vmm)
            .arg("run")
            .args(options)
            .arg(self.guests.join("attempts"))
            .args(["--append", &count.to_string()])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot run {}: {error}", self.vmm.display()))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            return Err(format!("{}: {said}", output.status));
        }
        Ok(Outcomes::parse(&said))
    }

    fn everything_is_refused(&self) -> CaseResult {
        let Some(_) = self.transport else {
            return Ok(no_transport());
        };
        let outcomes = self.outcomes(&[], ATTEMPTS.len())?;
        outcomes.all_are("refused", ATTEMPTS.len())
    }

    fn harmless_attempts_succeed(&self) -> CaseResult {
        let Some(_) = self.transport else {
            return Ok(no_transport());
        };
        let outcomes = self.outcomes(&["--no-sandbox"], HARMLESS)?;
        outcomes.all_are("succeeded", HARMLESS)
    }
}

fn no_transport() -> Verdict {
    Verdict::Skip("no transport works on this machine's KVM".into())
}

/// Lines by thread and outcome.
struct Outcomes {
    counts: BTreeMap<(String, String), usize>,
    said: String,
}

impl Outcomes {
    fn parse(said: &str) -> Self {
        let mut counts = BTreeMap::new();
        for line in said.lines() {
            let mut words = line.split('\t');
            if let (Some(thread), Some(outcome)) = (words.next(), words.next()) {
                *counts.entry((thread.into(), outcome.into())).or_default() += 1;
            }
        }
        let said = said.to_owned();
        Self { counts, said }
    }

    /// Every thread made all attempts, with this outcome.
    fn all_are(&self, outcome: &str, count: usize) -> CaseResult {
        let due: BTreeMap<_, _> = THREADS
            .into_iter()
            .map(|thread| ((thread.to_owned(), outcome.to_owned()), count))
            .collect();
        if self.counts == due {
            return Ok(Verdict::Pass);
        }
        let others: Vec<&str> = self
            .said
            .lines()
            .filter(|line| line.split('\t').nth(1) != Some(outcome))
            .collect();
        Err(format!(
            "expected {count} {outcome} on each of {THREADS:?}, found {:?}:\n{}",
            self.counts,
            others.join("\n")
        ))
    }
}
