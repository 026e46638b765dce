// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `hcall`: hypercalls from the shell of a guest, through `/dev/hcall`.
//!
//! A library only so that its man pages and completions are made from the command line
//! that it really takes.
#![forbid(unsafe_code)]

mod answer;
mod arguments;
mod bench;
mod calls;
mod commands;
mod failure;
mod numbers;
mod output;
mod statistics;
mod stats;
mod timing;
mod trace;
mod trace_event;
mod trace_instance;

use arguments::{CommandLine, Parsed};
use std::process::ExitCode;

/// The whole command: reads the process's arguments and does what they say.
pub fn main() -> ExitCode {
    match CommandLine::parse(std::env::args_os().collect()) {
        Parsed::Run(line) => output::report(line.format(), commands::run(&line)),
        Parsed::Show(text) => output::show(&text),
        Parsed::Refused(format, failure) => output::report(format, Err(failure)),
    }
}

/// The command line that it takes: for who makes documents of it, and not part of the API,
/// because it shows another crate.
#[doc(hidden)]
pub fn command_line() -> clap::Command {
    <CommandLine as clap::CommandFactory>::command()
}
