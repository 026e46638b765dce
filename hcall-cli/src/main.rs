// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `hcall`: hypercalls from the shell of a guest, through `/dev/hcall`.
#![forbid(unsafe_code)]

mod answer;
mod arguments;
mod calls;
mod commands;
mod failure;
mod numbers;
mod output;
mod statistics;
mod stats;
mod trace;
mod trace_event;
mod trace_instance;

use arguments::{CommandLine, Parsed};
use std::process::ExitCode;

fn main() -> ExitCode {
    match CommandLine::parse(std::env::args_os().collect()) {
        Parsed::Run(line) => output::report(line.format(), commands::run(&line)),
        Parsed::Show(text) => output::show(&text),
        Parsed::Refused(format, failure) => output::report(format, Err(failure)),
    }
}
