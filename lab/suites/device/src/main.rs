// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a process in a Linux guest can check of the module, the device and the command
//! `hcall`, reported as KTAP. Loads and unloads the module itself, so that it belongs on
//! a machine of the lab and nowhere else.
//!
//! ```text
//! device-suite --module /modules/hcall.ko --transport instruction
//! device-suite --module /modules/hcall.ko --expect-enodev
//! ```

mod cases;
mod compat;
mod context;
mod failure;
mod fdinfo;
mod kernel_log;
mod memory;
mod module;
mod raw;

use clap::Parser;
use context::Context;
use hcall_guest::abi::Transport;
use std::path::PathBuf;
use std::process::ExitCode;

/// Check the hcall module from a process
#[derive(Debug, Parser)]
#[command(name = "device-suite")]
struct CommandLine {
    /// The module's file
    #[arg(long, value_name = "PATH")]
    module: PathBuf,

    /// The transport that the host is known to offer
    #[arg(long, value_name = "NAME", required_unless_present = "expect_enodev", value_parser = transport)]
    transport: Option<Transport>,

    /// This machine has no hcall host: the module must refuse to load
    #[arg(long, conflicts_with = "transport")]
    expect_enodev: bool,
}

fn transport(name: &str) -> Result<Transport, String> {
    Transport::ALL
        .into_iter()
        .find(|transport| transport.name() == name)
        .ok_or_else(|| format!("there is no transport '{name}'"))
}

fn main() -> ExitCode {
    let line = CommandLine::parse();
    let context = match Context::new(line.module) {
        Ok(context) => context,
        Err(failure) => {
            eprintln!("device-suite: {failure}");
            return ExitCode::FAILURE;
        }
    };
    match line.transport {
        Some(transport) => cases::with_host(&context, transport).run(),
        None => cases::without_host(&context).run(),
    }
}
