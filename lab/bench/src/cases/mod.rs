// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is measured: a file for each.

mod bare_loop;
mod calls;
mod dispatch;
mod instructions;
mod linux;
mod start;
mod system_calls;

use hcall_abi::TransportSet;
use hcall_measurement::Measurement;
use hcall_vmm::probe::Report;
use std::path::PathBuf;

/// A machine, and what is there to be run on it.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) guests: PathBuf,
    pub(crate) linux: Option<PathBuf>,
    pub(crate) vmm: PathBuf,
    pub(crate) probed: Report,
    /// The machine is one whose time-stamp counter counts instructions.
    pub(crate) tsc_counts_instructions: bool,
}

impl Setting {
    /// The transports that work here.
    pub(crate) fn working(&self) -> TransportSet {
        self.probed.working()
    }

    /// The reason for which a case about time is left out, where time is not what passes.
    fn no_clock(&self) -> Option<Outcome> {
        self.tsc_counts_instructions
            .then(|| Outcome::NotHere("time passes by the instruction on this machine".into()))
    }
}

/// What came of a case.
pub(crate) enum Outcome {
    Measured(Vec<Measurement>),
    /// It cannot be measured here, for this reason.
    NotHere(String),
}

pub(crate) type Case = fn(&Setting) -> Result<Outcome, String>;

/// Every case, in the order in which they are run.
pub(crate) const ALL: [(&str, Case); 7] = [
    (
        "dispatch on the host, whatever the number of handlers",
        dispatch::measure,
    ),
    ("one system call for each hypercall", system_calls::measure),
    ("the loop against a bare one", bare_loop::measure),
    ("from process start to the first hypercall", start::measure),
    ("calls of unikernels", calls::measure),
    (
        "instructions of a call in a unikernel",
        instructions::measure,
    ),
    ("calls of processes in Linux", linux::measure),
];
