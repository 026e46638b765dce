// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lab's driver: builds what the lab's machines boot, boots them, and runs every test
//! of the project. `make run` and `make test` are this program.
#![forbid(unsafe_code)]

mod api;
mod bench;
mod boot;
mod c_program;
mod c_unikernel;
mod cargo;
mod console;
mod coverage;
mod crates;
mod demonstration;
mod description;
mod dynamic;
mod follow;
mod fuzzing;
mod guide;
mod initramfs;
mod interrupt;
mod libtest;
mod medium;
mod packages;
mod places;
mod process;
mod programs;
mod provision;
mod score;
mod stages;
mod suite;
mod template;
mod test;
mod workshop;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use workshop::{Verbosity, Workshop};

/// Builds, boots and tests hcall's virtual machines.
#[derive(Debug, Parser)]
#[command(name = "hcall-lab", version)]
struct Arguments {
    /// Show the whole output of what is run.
    #[arg(long, short, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all tests of the project.
    Test {
        /// Run only the stages whose name contains one of these.
        #[arg(value_name = "STAGE")]
        only: Vec<String>,
    },
    /// Show the first hypercall from a unikernel, a kernel and a process.
    Run,
    /// Build hcall-vmm and the examples' unikernels, into target/bin.
    Build,
    /// Measure what hypercalls cost.
    Bench(bench::Arguments),
    /// Write docs/api anew, the public API of each crate.
    Api,
    /// Run the fuzz targets.
    Fuzz(fuzzing::Arguments),
    /// Run one suite of lab/suites.toml.
    Suite {
        /// Its name.
        name: String,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let verbosity = if arguments.verbose {
        Verbosity::Everything
    } else {
        Verbosity::Progress
    };
    match run(arguments.command, verbosity) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("hcall-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, verbosity: Verbosity) -> Result<ExitCode> {
    interrupt::end_children_on_signals()?;
    let mut workshop = Workshop::open(verbosity)?;
    match command {
        Command::Test { only } => test::run(&mut workshop, &only),
        Command::Run => demonstration::run(&mut workshop),
        Command::Build => programs::run(&workshop),
        Command::Bench(arguments) => bench::run(&mut workshop, &arguments),
        Command::Api => api::accept(&mut workshop),
        Command::Fuzz(arguments) => test::run_fuzzing(&mut workshop, &arguments),
        Command::Suite { name } => test::run_suite(&mut workshop, &name),
    }
}
