// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall-bench`: what hypercalls cost on this machine's KVM.
//!
//! Each case measures something and reports it in lines that begin with `# BENCH`; it
//! fails if a value is above its limit. The report is KTAP. A new case is a file in
//! `cases/` and a line in [`cases::ALL`].

mod cases;
mod guest;
mod samples;
mod trace;

use cases::Setting;
use clap::Parser;
use hcall_ktap::{Suite, Verdict};
use hcall_vmm::probe::{probe, Report};
use kvm_ioctls::Kvm;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Parser)]
#[command(about = "Measures what hypercalls cost on this machine's KVM; reports in KTAP")]
struct Arguments {
    /// Directory of the test unikernels
    #[arg(long)]
    guests: PathBuf,

    /// Directory with Linux as a guest: vmlinux, initrd
    #[arg(long)]
    linux: Option<PathBuf>,

    /// The command hcall-vmm
    #[arg(long)]
    vmm: PathBuf,

    /// Runs where the time-stamp counter counts instructions
    #[arg(long)]
    tsc_counts_instructions: bool,

    /// Runs only the cases whose names hold this
    #[arg(long)]
    filter: Option<String>,
}

/// How long the probe may try each transport.
const PROBE_DEADLINE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let probed = match probe_machine() {
        Ok(probed) => probed,
        Err(reason) => {
            eprintln!("error: {reason}");
            return ExitCode::FAILURE;
        }
    };
    let setting = Setting {
        guests: arguments.guests,
        linux: arguments.linux,
        vmm: arguments.vmm,
        probed,
        tsc_counts_instructions: arguments.tsc_counts_instructions,
    };
    let setting = &setting;
    let mut suite = Suite::new("bench");
    if let Some(filter) = &arguments.filter {
        suite = suite.filter(filter);
    }
    for (name, case) in cases::ALL {
        suite = suite.case(name, move || run(case, setting));
    }
    suite.run()
}

fn probe_machine() -> Result<Report, String> {
    let kvm = Kvm::new().map_err(|error| format!("/dev/kvm: {error}"))?;
    let report = probe(&kvm, PROBE_DEADLINE);
    for line in report.to_string().lines() {
        println!("# {line}");
    }
    Ok(report)
}

/// Runs a case, reports what it measured, and judges it.
fn run(case: cases::Case, setting: &Setting) -> Result<Verdict, String> {
    let measurements = match case(setting)? {
        cases::Outcome::Measured(measurements) => measurements,
        cases::Outcome::NotHere(reason) => return Ok(Verdict::Skip(reason)),
    };
    for measurement in &measurements {
        println!("# {}", measurement.line());
    }
    let excesses: Vec<String> = measurements
        .iter()
        .filter_map(|measurement| measurement.excess())
        .collect();
    if excesses.is_empty() {
        Ok(Verdict::Pass)
    } else {
        Err(excesses.join("\n"))
    }
}
