// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line of `hcall-vmm`, also for a VMM that only adds handlers to it.
//!
//! ```no_run
//! use hcall_vmm::HypercallNumber;
//! use std::process::ExitCode;
//!
//! fn main() -> ExitCode {
//!     hcall_vmm::cli::main(|hypercalls| {
//!         hypercalls.register(HypercallNumber::user(0x01), |call| Ok(call.arg::<0>() + 1))
//!     })
//! }
//! ```
//!
//! A command line that begins with an option and has QEMU's `-kernel` is read as QEMU
//! would: `-kernel IMAGE -append TEXT -initrd FILE`, besides those of kvm-unit-tests.
//!
//! # Exit status
//!
//! | status | meaning |
//! |---|---|
//! | 0 to 255 | the guest's, from its `EXIT` or the debug-exit port |
//! | 0 | the guest reset the machine or halted, or `hcall-vmm ctl` ended it |
//! | 2 | the command line is wrong |
//! | [`STATUS_ABNORMAL`] | the guest panicked, shut down, or KVM ended it; or a handler panicked, with `--end-on-panic` |
//! | [`STATUS_VMM`] | there was no VM to run; the line on standard error says why |
//! | 128 + *n* | signal *n* ended the VM |
//!
//! Of `hcall-vmm ctl`:
//!
//! | status | meaning |
//! |---|---|
//! | 0 | the VM has done it |
//! | 1 | the VM has refused it |
//! | 2 | the command line is wrong |
//! | [`STATUS_VMM`] | no VM could be asked, or the source of a handler not be opened |

mod arguments;
mod ctl;
mod plugins;
mod qemu;
mod run;

use crate::probe;
use crate::table::{HypercallTable, TableError};
use crate::vmm::VmError;
use anyhow::Context;
use arguments::{Arguments, Command, ProbeArguments};
use clap::{CommandFactory, Parser};
use std::io::Write;
use std::process::ExitCode;
use tracing_subscriber::filter::LevelFilter;

/// Exit status when the command line is wrong; clap's too.
const STATUS_USAGE: u8 = 2;
/// Exit status when there was no VM to run.
pub const STATUS_VMM: u8 = 125;
/// Exit status when the guest ended abnormally.
pub const STATUS_ABNORMAL: u8 = 126;

/// The whole command: reads the process's arguments, does what they say, and lets
/// `register` add handlers to a VM before it runs.
pub fn main(register: impl FnOnce(&HypercallTable) -> Result<(), TableError>) -> ExitCode {
    let arguments = match qemu::translate(std::env::args_os().collect()) {
        Ok(arguments) => Arguments::parse_from(arguments),
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(STATUS_USAGE);
        }
    };
    // Refused only if the embedding program has set up tracing already, which then stays.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level(arguments.verbose))
        .with_writer(std::io::stderr)
        .try_init();
    let done = match arguments.command {
        Command::Run(run) => run::run(run, level(arguments.verbose), register),
        Command::Probe(probe) => probe_command(&probe),
        Command::Ctl(ctl) => ctl::ctl(&ctl),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(STATUS_VMM)
        }
    }
}

/// The command line of `hcall-vmm`, for its man page and completions.
#[doc(hidden)]
pub fn command_line() -> clap::Command {
    Arguments::command().name("hcall-vmm")
}

/// What the arguments become if they are QEMU's, and whether they are a command line then.
#[cfg(feature = "_fuzzing")]
pub(crate) fn read_command_line(
    arguments: Vec<std::ffi::OsString>,
) -> Result<Vec<std::ffi::OsString>, String> {
    let arguments = qemu::translate(arguments)?;
    match Arguments::try_parse_from(&arguments) {
        Ok(_) => Ok(arguments),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(feature = "_fuzzing")]
pub(crate) use qemu::translate as translate_command_line;

fn level(verbose: u8) -> LevelFilter {
    match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}

fn probe_command(arguments: &ProbeArguments) -> anyhow::Result<u8> {
    let kvm = crate::vmm::open_kvm(&arguments.kvm)?;
    let report = probe::probe(&kvm, arguments.deadline());
    writeln!(std::io::stdout(), "{report}").context("cannot write the report")?;
    match report.preferred() {
        Some(_) => Ok(0),
        None => Err(VmError::NoTransport(Box::new(report)).into()),
    }
}
