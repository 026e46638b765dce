// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is measured: a file for each.

mod bare_loop;
mod batches;
mod calls;
mod dispatch;
mod instructions;
mod linux;
mod rings;
mod start;
mod system_calls;

use hcall_abi::TransportSet;
use hcall_measurement::{Measurement, Missing};
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

    /// Whether KVM is software, which emulates the guest's kernel code.
    fn emulates_kernel_code(&self) -> bool {
        self.probed.virtualization.is_none()
    }

    /// As [`no_clock`](Self::no_clock), and the reason for which a case about time in a guest
    /// is left out, where KVM is software that emulates the guest's kernel code.
    fn no_time_in_guests(&self) -> Option<Outcome> {
        let emulated = self.emulates_kernel_code();
        self.no_clock()
            .or_else(|| emulated.then(|| Outcome::NotHere(EMULATES_KERNEL_CODE.into())))
    }
}

const EMULATES_KERNEL_CODE: &str =
    "this KVM is software, which emulates a unikernel's every instruction";

/// Says that a value of a case is not measured here, where the others are.
fn leave_out(name: impl Into<String>, reason: impl Into<String>) {
    println!("# {}", Missing::new(name, reason).line());
}

/// What came of a case.
pub(crate) enum Outcome {
    Measured(Vec<Measurement>),
    /// It cannot be measured here, for this reason.
    NotHere(String),
}

pub(crate) type Case = fn(&Setting) -> Result<Outcome, String>;

/// Every case, in the order in which they are run.
pub(crate) const ALL: [(&str, Case); 9] = [
    (
        "dispatch on the host, whatever the number of handlers",
        dispatch::measure,
    ),
    ("one system call for each hypercall", system_calls::measure),
    ("the loop against a bare one", bare_loop::measure),
    ("from process start to the first hypercall", start::measure),
    ("calls of unikernels", calls::measure),
    ("batches of unikernels", batches::measure),
    ("rings of unikernels", rings::measure),
    (
        "instructions of a call in a unikernel",
        instructions::measure,
    ),
    ("calls of processes in Linux", linux::measure),
];

/// Whether QEMU's TCG, or Bochs, is this machine's processor: the name that they give it
/// says so.
fn is_emulated() -> bool {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors
        .lines()
        .find(|line| line.starts_with("model name"));
    model.is_some_and(|model| {
        ["QEMU", "Bochs", "TCG"]
            .iter()
            .any(|name| model.contains(name))
    })
}
