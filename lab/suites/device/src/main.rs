// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a process in a Linux guest can check of the module, the device and the command
//! `hcall`, reported as KTAP. Loads and unloads the module itself, so that it belongs on
//! a machine of the lab and nowhere else.
//!
//! ```text
//! device-suite --module /modules/hcall.ko --transport instruction
//! device-suite --module /modules/hcall.ko --transport instruction --processors 4
//! device-suite --module /modules/hcall.ko --expect-enodev no-host
//! device-suite --module /modules/hcall.ko --hostile 100000 --seed 1
//! ```

mod cases;
mod children;
mod compat;
mod confined;
mod context;
mod counted;
mod coverage;
mod failure;
mod fdinfo;
mod hostile;
mod kernel_log;
mod kernel_memory;
mod memory;
mod module;
mod perf;
mod raw;
mod raw_ring;
mod tracefs;
mod widening;

use clap::{Parser, ValueEnum};
use context::Context;
use hcall_guest::abi::Transport;
use hcall_ktap::Suite;
use std::path::PathBuf;
use std::process::ExitCode;

/// Check the hcall module from a process
#[derive(Debug, Parser)]
#[command(name = "device-suite")]
struct CommandLine {
    /// The module's file
    #[arg(long, value_name = "PATH", required_unless_present = "call_on")]
    module: Option<PathBuf>,

    /// The transport that the host is known to offer
    #[arg(long, value_name = "NAME", required_unless_present_any = ["expect_enodev", "call_on", "hostile"], value_parser = transport)]
    transport: Option<Transport>,

    /// Run the client suite as well, by the clients in this directory
    #[arg(long, value_name = "PATH")]
    clients: Option<PathBuf>,

    /// How many calls are made through a ring where it is about many
    #[arg(long, value_name = "NUMBER", default_value_t = 100_000)]
    ring_calls: u64,

    /// How many requests of each kind are made where it is about leaks; with --hostile, only
    /// if this is given
    #[arg(long, value_name = "NUMBER")]
    leak_calls: Option<u64>,

    /// How many processors the host has: with two, rings and batches must be much faster than
    /// single calls
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    host_processors: usize,

    /// This is the kernel of our own: run the module's KUnit tests too, and say at the end
    /// what of it was executed
    #[arg(long)]
    debug_kernel: bool,

    /// The module must refuse to load, for this reason
    #[arg(long, value_name = "REASON", conflicts_with = "transport", value_enum)]
    expect_enodev: Option<Refusal>,

    /// Check that there are N processors and that they work together, in place of the rest
    #[arg(long, value_name = "N", requires = "transport")]
    processors: Option<usize>,

    /// Make N hostile requests in place of the rest, half of them as root, half as nobody
    #[arg(long, value_name = "N")]
    hostile: Option<u64>,

    /// The seed of the hostile requests; without it, the clock's
    #[arg(long, value_name = "NUMBER", requires = "hostile")]
    seed: Option<u64>,

    /// What the suite starts itself as: a process that makes calls on this processor
    #[arg(long, value_name = "NUMBER", hide = true, exclusive = true)]
    call_on: Option<usize>,
}

/// Requests of each kind, enough to tell one lost page or object of each from what the rest of
/// the kernel does meanwhile.
const LEAK_CALLS: u64 = 1000;

/// Why the module cannot be loaded here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Refusal {
    /// CPUID shows no hcall host
    NoHost,
    /// CPUID shows the vendor of another instruction than the processor has
    RefusedTrap,
    /// The host offers no transport
    NoTransport,
}

/// Whose kernel this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    /// A distribution's.
    Stock,
    /// Our own, with KUnit.
    Debug,
}

/// What is known of the machine, and asked of rings.
#[derive(Clone, Copy, Debug)]
struct Rings {
    /// Calls where it is about many.
    calls: u64,
    /// Processors of the host.
    host_processors: usize,
}

fn transport(name: &str) -> Result<Transport, String> {
    Transport::ALL
        .into_iter()
        .find(|transport| transport.name() == name)
        .ok_or_else(|| format!("there is no transport '{name}'"))
}

/// Another number each time.
fn clock() -> u64 {
    std::time::UNIX_EPOCH
        .elapsed()
        .map_or(0, |time| time.as_nanos() as u64)
}

fn main() -> ExitCode {
    if let Some(status) = children::play() {
        return status;
    }
    if std::env::args()
        .nth(1)
        .is_some_and(|role| role == confined::ROLE)
    {
        return confined::main();
    }
    let line = CommandLine::parse();
    if let Some(processor) = line.call_on {
        return cases::call_on(processor);
    }
    let context = match Context::new(line.module.clone().unwrap_or_default()) {
        Ok(context) => context,
        Err(failure) => {
            eprintln!("device-suite: {failure}");
            return ExitCode::FAILURE;
        }
    };
    let kernel = if line.debug_kernel {
        Kernel::Debug
    } else {
        Kernel::Stock
    };
    let status = suite(&line, kernel, &context).run();
    match kernel {
        Kernel::Stock => status,
        Kernel::Debug => match coverage::say() {
            Ok(()) => status,
            Err(failure) => {
                eprintln!("device-suite: {failure}");
                ExitCode::FAILURE
            }
        },
    }
}

/// The cases that the command line asks for.
fn suite<'a>(line: &CommandLine, kernel: Kernel, context: &'a Context) -> Suite<'a> {
    if let Some(requests) = line.hostile {
        let seed = line.seed.unwrap_or_else(clock);
        let scale = hostile::Scale { requests, seed };
        return hostile::suite(context, kernel, scale, line.leak_calls);
    }
    let rings = Rings {
        calls: line.ring_calls,
        host_processors: line.host_processors,
    };
    match (line.transport, line.processors, line.expect_enodev) {
        (Some(transport), Some(count), _) => cases::several(context, transport, count),
        (Some(transport), None, _) => {
            let scale = cases::Scale {
                rings,
                leak_calls: line.leak_calls.unwrap_or(LEAK_CALLS),
            };
            cases::with_host(context, kernel, transport, line.clients.as_deref(), scale)
        }
        (None, _, Some(refusal)) => cases::refused(context, refusal),
        (None, _, None) => unreachable!("the command line needs one of the two"),
    }
}
