// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall-vmm ctl`: asks something of a running VM, by its control socket.

use crate::extend::control::client::{Client, ClientError};
use crate::extend::control::protocol::Command;
use crate::extend::{
    parse_hypercall_number, Assignment, AssignmentError, HandlerSource, NumberSyntaxError,
};
use anyhow::Context;
use clap::{Args, Subcommand};
use hcall_abi::HypercallNumber;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::str::FromStr;

/// Exit status when the VM has refused.
const STATUS_REFUSED: u8 = 1;

const EXIT_STATUS: &str = "\
Exit status: 0 when the VM has done it; 1 when it has refused; 2 when the command line is wrong; \
125 when no VM could be asked, or the source of a handler could not be opened.";

const SOURCES: &str = "\
A SOURCE is unix:PATH, a process that listens on a Unix socket; plugin:PATH, a shared object; \
value:N, this answer to every call; or errno:N, this failure of every call, by number or name. A \
NUMBER is decimal, or hexadecimal with 0x. This command opens the source, with its user's rights, \
and passes it to the VM.";

#[derive(Debug, Args)]
#[command(after_help = EXIT_STATUS)]
pub(super) struct CtlArguments {
    /// The socket that `hcall-vmm run --control` made
    socket: PathBuf,

    /// Print the VM's answer as it came, in JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show which numbers have a handler, and from where
    List,
    /// Give a number its handler: NUMBER=SOURCE; or, with plugin:PATH alone, all that a plugin has
    #[command(after_help = SOURCES)]
    Add {
        /// What to add
        #[arg(value_name = "NUMBER=SOURCE|plugin:PATH")]
        addition: Addition,
    },
    /// Put another handler in the place of a number's, with no call in between that finds none
    #[command(after_help = SOURCES)]
    Replace {
        /// Which number gets what
        #[arg(value_name = "NUMBER=SOURCE")]
        assignment: Assignment,
    },
    /// Take a number's handler away
    Remove {
        /// The number, decimal or with 0x
        #[arg(value_parser = number)]
        number: HypercallNumber,
    },
    /// Show counters, and what is recorded of each number
    Stats,
    /// Print the counters for Prometheus
    Metrics,
    /// Stop the vCPUs until `resume`
    Pause,
    /// Have the vCPUs go on
    Resume,
    /// End the VM
    Stop,
}

/// What `add` takes.
#[derive(Clone, Debug)]
enum Addition {
    One(Assignment),
    Plugin(PathBuf),
}

impl FromStr for Addition {
    type Err = AssignmentError;

    fn from_str(text: &str) -> Result<Self, AssignmentError> {
        match text.parse() {
            Ok(HandlerSource::Plugin(path)) => Ok(Self::Plugin(path)),
            _ => text.parse().map(Self::One),
        }
    }
}

fn number(text: &str) -> Result<HypercallNumber, NumberSyntaxError> {
    parse_hypercall_number(text)
}

/// Asks, prints what comes back, and returns the exit status.
pub(super) fn ctl(arguments: &CtlArguments) -> anyhow::Result<u8> {
    let command = command(&arguments.action);
    let asked = Client::connect(&arguments.socket).and_then(|mut client| client.ask(&command));
    let result = match asked {
        Ok(result) => result,
        Err(ClientError::Refused(refusal)) => {
            eprintln!("error: {refusal}");
            return Ok(STATUS_REFUSED);
        }
        Err(error) => return Err(error.into()),
    };
    let text = match (&arguments.action, arguments.json) {
        (_, true) => format!("{result}\n"),
        (Action::List, _) => handlers(&result),
        (Action::Stats, _) => stats(&result),
        (Action::Metrics, _) => text_of(&result["text"]).into(),
        _ => String::new(),
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write the answer")?;
    Ok(0)
}

fn command(action: &Action) -> Command {
    match action {
        Action::List => Command::List,
        Action::Add { addition } => match addition {
            Addition::One(Assignment { number, source }) => Command::Add {
                number: Some(*number),
                source: in_full(source),
            },
            Addition::Plugin(path) => Command::Add {
                number: None,
                source: in_full(&HandlerSource::Plugin(path.clone())),
            },
        },
        Action::Replace { assignment } => Command::Replace {
            number: assignment.number,
            source: in_full(&assignment.source),
        },
        Action::Remove { number } => Command::Remove { number: *number },
        Action::Stats => Command::Stats,
        Action::Metrics => Command::Metrics,
        Action::Pause => Command::Pause,
        Action::Resume => Command::Resume,
        Action::Stop => Command::Stop,
    }
}

/// The source with its whole path, so that `list` names it to whoever asks from elsewhere.
fn in_full(source: &HandlerSource) -> HandlerSource {
    let full = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    match source {
        HandlerSource::Unix(path) => HandlerSource::Unix(full(path)),
        HandlerSource::Plugin(path) => HandlerSource::Plugin(full(path)),
        other => other.clone(),
    }
}

fn handlers(result: &Value) -> String {
    let mut text = format!("{:<12} {:<14} {}\n", "number", "name", "from");
    for handler in result["handlers"].as_array().into_iter().flatten() {
        let from = match text_of(&handler["owner"]) {
            "source" => text_of(&handler["source"]),
            owner => owner,
        };
        let (number, name) = (hexadecimal(&handler["number"]), name_of(handler));
        let _ = writeln!(text, "{number:<12} {name:<14} {}", visible(from));
    }
    text
}

fn stats(result: &Value) -> String {
    let mut text = String::new();
    for (name, value) in result.as_object().into_iter().flatten() {
        if name != "numbers" {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            let _ = writeln!(text, "{name:<12} {value}");
        }
    }
    let Some(numbers) = result["numbers"].as_array() else {
        text.push_str("calls of each number are not recorded (--no-watch)\n");
        return text;
    };
    let _ = writeln!(
        text,
        "\n{:<12} {:<14} {:>12} {:>10} {:>8} {:>10} {:>10} {:>10} {:>12}",
        "number", "name", "calls", "failed", "panicked", "p50", "p99", "p99.9", "max [ns]"
    );
    for number in numbers {
        let latency = &number["latency_ns"];
        let _ = writeln!(
            text,
            "{:<12} {:<14} {:>12} {:>10} {:>8} {:>10} {:>10} {:>10} {:>12}",
            hexadecimal(&number["number"]),
            name_of(number),
            number["calls"].to_string(),
            number["failed"].to_string(),
            number["panicked"].to_string(),
            latency["p50"].to_string(),
            latency["p99"].to_string(),
            latency["p999"].to_string(),
            latency["max"].to_string(),
        );
    }
    text
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn name_of(object: &Value) -> &str {
    object["name"].as_str().unwrap_or("-")
}

fn hexadecimal(number: &Value) -> String {
    match number.as_u64() {
        Some(number) => format!("{number:#x}"),
        None => "?".into(),
    }
}

/// A path as it can be printed: what drives terminals is made visible.
fn visible(text: &str) -> String {
    let mut visible = String::new();
    for character in text.chars() {
        if character.is_control() {
            visible.extend(character.escape_default());
        } else {
            visible.push(character);
        }
    }
    visible
}
