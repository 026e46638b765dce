// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line. Numbers stay text here and are read in `numbers`, so that each
//! mistake gets one line and not clap's paragraph.

use crate::bench::Measured;
use crate::failure::Failure;
use crate::output::Format;
use crate::stats::What;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::num::NonZero;
use std::path::PathBuf;

const EXIT_STATUS: &str = "\
Exit status: 0 when the host answered with success, 1 when it did not or could not be \
asked, 2 when the command line makes no sense.";

/// What `bench` makes each way: some seconds where VMs run in emulated machines, and a
/// fraction of one elsewhere.
const DEFAULT_BENCH_CALLS: NonZero<u32> = NonZero::new(10_000).unwrap();

/// Make hypercalls through /dev/hcall
#[derive(Debug, Parser)]
#[command(name = "hcall", version, after_help = EXIT_STATUS)]
pub(crate) struct CommandLine {
    /// Print one JSON object, for failures too
    #[arg(long, global = true)]
    json: bool,

    /// The device node; without it, the open device that `restrict` has handed to this
    /// command, else /dev/hcall
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) device: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what the module found: ABI version, transport, limits
    Info,
    /// Make a hypercall and print its answer
    Call {
        /// Decimal, 0x hexadecimal, or the name of a core call such as PROBE
        number: String,
        /// Up to four arguments, decimal or 0x hexadecimal; the others are zero
        #[arg(value_name = "ARG")]
        arguments: Vec<String>,
    },
    /// Send a value to the host and back
    Echo {
        /// Decimal or 0x hexadecimal, below 2^63
        value: String,
    },
    /// Write a line to the console of the VM
    Log {
        /// The words of the line; a newline is added
        #[arg(required = true)]
        text: Vec<OsString>,
    },
    /// Make the calls of a file, many with one exit, and print their answers
    ///
    /// Each line is a call as the command `call` takes it: a number and up to four
    /// arguments. Empty lines, and what follows a #, are skipped.
    Batch {
        /// Make no call after one that failed
        #[arg(long)]
        stop_on_error: bool,
        /// The file; - for standard input
        file: PathBuf,
    },
    /// Show what host and module have counted, or have the module count
    ///
    /// The module counts only after `stats enable`, and only root may ask it.
    Stats {
        /// Without it, everything is shown
        what: Option<What>,
    },
    /// Print calls as they are made, until interrupted
    ///
    /// Shows the calls of all processes and of the kernel; only root may.
    Trace {
        /// End after so many calls
        #[arg(long, value_name = "N")]
        count: Option<u64>,
    },
    /// Measure how long calls take: alone, in batches, and through a ring
    ///
    /// What is measured is a process's call to the host and back, as this guest's programs
    /// make it. The figures are the machine's at that moment: run it more than once.
    Bench {
        /// The call to make
        #[arg(long, value_enum, default_value_t = Measured::Echo)]
        call: Measured,
        /// How many, each way
        #[arg(long, value_name = "N", default_value_t = DEFAULT_BENCH_CALLS)]
        calls: NonZero<u32>,
    },
    /// Run a command with an open device that can make only some calls
    ///
    /// The command, and all that it runs, inherits the device as the file descriptor that the
    /// environment variable HCALL_FD names; `hcall` uses it from there. The restriction
    /// cannot be lifted, but whoever may open /dev/hcall can open another: drop privileges.
    Restrict {
        /// Numbers and ranges FIRST-LAST, separated by commas, as for `call`; or none
        ranges: String,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
}

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Parsed {
    Run(CommandLine),
    /// Help or version.
    Show(String),
    Refused(Format, Failure),
}

impl CommandLine {
    pub(crate) fn parse(line: Vec<OsString>) -> Parsed {
        match Self::try_parse_from(&line) {
            Ok(parsed) => Parsed::Run(parsed),
            Err(error) => match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                    Parsed::Show(error.to_string())
                }
                _ => Parsed::Refused(wanted_format(&line), usage(&error)),
            },
        }
    }

    pub(crate) fn format(&self) -> Format {
        if self.json {
            Format::Json
        } else {
            Format::Text
        }
    }
}

/// The format when the line could not be parsed as a whole.
fn wanted_format(line: &[OsString]) -> Format {
    if line.iter().any(|word| word == "--json") {
        Format::Json
    } else {
        Format::Text
    }
}

/// Clap's error in one line.
fn usage(error: &clap::Error) -> Failure {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::Usage(
            "a command is needed: info, call, echo, log, batch, stats, trace, bench or restrict"
                .to_owned(),
        );
    }
    let text = error.to_string();
    let paragraph: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    let line = paragraph.join(" ");
    Failure::Usage(line.strip_prefix("error: ").unwrap_or(&line).to_owned())
}
