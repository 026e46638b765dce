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

/// The VMM with the handler that was taken over, and its guests.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    vmm: PathBuf,
    guests: PathBuf,
    transport: Option<Transport>,
}

pub(crate) fn add_cases<'a>(suite: Suite<'a>, setting: &Setting) -> Suite<'a> {
    let [confined, unconfined] = [setting.clone(), setting.clone()];
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
    pub(crate) fn new(vmm: &Path, guests: &Path, working: TransportSet) -> Self {
        Self {
            vmm: vmm.into(),
            guests: guests.into(),
            transport: working.iter().next(),
        }
    }

    pub(crate) fn has_transport(&self) -> bool {
        self.transport.is_some()
    }

    /// What runs this guest.
    pub(crate) fn command(&self, guest: &str, command_line: &str) -> Command {
        let mut command = Command::new(&self.vmm);
        command
            .arg("run")
            .arg(self.guests.join(guest))
            .args(["--append", command_line])
            .stdin(Stdio::null());
        command
    }

    /// What came of the attempts that the guest of `command` has made.
    pub(crate) fn outcomes_of(&self, mut command: Command) -> Result<Outcomes, String> {
        let output = command
            .output()
            .map_err(|error| format!("cannot run {}: {error}", self.vmm.display()))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            return Err(format!("{}: {said}", output.status));
        }
        Ok(Outcomes::parse(&said))
    }

    fn everything_is_refused(&self) -> CaseResult {
        if !self.has_transport() {
            return Ok(no_transport());
        }
        let command = self.command("attempts", &ATTEMPTS.len().to_string());
        let outcomes = self.outcomes_of(command)?;
        outcomes.are(&[("refused", ATTEMPTS.len())])
    }

    fn harmless_attempts_succeed(&self) -> CaseResult {
        if !self.has_transport() {
            return Ok(no_transport());
        }
        let mut command = self.command("attempts", &HARMLESS.to_string());
        command.arg("--no-sandbox");
        let outcomes = self.outcomes_of(command)?;
        outcomes.are(&[("succeeded", HARMLESS)])
    }
}

pub(crate) fn no_transport() -> Verdict {
    Verdict::Skip("no transport works on this machine's KVM".into())
}

/// Lines by thread and outcome.
pub(crate) struct Outcomes {
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

    /// Every thread had as many of each outcome.
    pub(crate) fn are(&self, counts: &[(&str, usize)]) -> CaseResult {
        let mut due = BTreeMap::new();
        for thread in THREADS {
            for (outcome, count) in counts.iter().filter(|(_, count)| *count > 0) {
                due.insert((thread.to_owned(), (*outcome).to_owned()), *count);
            }
        }
        if self.counts == due {
            return Ok(Verdict::Pass);
        }
        Err(format!(
            "expected {counts:?} on each of {THREADS:?}, found {:?}:\n{}",
            self.counts, self.said
        ))
    }
}
