// SPDX-License-Identifier: MIT OR Apache-2.0
//! Standard output, standard error and the exit status.

use crate::answer::Answer;
use crate::failure::Failure;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Format {
    Text,
    Json,
}

/// Prints how a command ended and returns its exit status.
pub(crate) fn report(format: Format, outcome: Result<Answer, Failure>) -> ExitCode {
    let text = match (&outcome, format) {
        (Ok(answer), Format::Text) => answer.text(),
        (Ok(answer), Format::Json) => format!("{}\n", answer.json()),
        (Err(_), Format::Text) => String::new(),
        (Err(failure), Format::Json) => format!("{}\n", failure.json()),
    };
    if let Err(failure) = print(&text) {
        return complain(&failure);
    }
    match (&outcome, format) {
        (Ok(answer), _) if answer.is_success() => ExitCode::SUCCESS,
        (Ok(_), _) => ExitCode::FAILURE,
        (Err(failure), Format::Text) => complain(failure),
        (Err(failure), Format::Json) => failure.status().into(),
    }
}

/// Prints help or version.
pub(crate) fn show(text: &str) -> ExitCode {
    match print(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => complain(&failure),
    }
}

/// A reader that has gone away wants nothing more, and no complaint.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(()),
    }
}

fn complain(failure: &Failure) -> ExitCode {
    // If standard error is gone too, the status is all that can be said.
    let _ = writeln!(io::stderr(), "hcall: {}", failure.message());
    failure.status().into()
}
