// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files of calls, made in batches.

use crate::answer::Answered;
use crate::failure::Failure;
use crate::numbers;
use hcall_guest::abi::batch::BatchEntry;
use hcall_guest::abi::ioctl::BATCH_MAX;
use hcall_guest::batch::{Batch, OnError};
use hcall_guest::device::Device;
use hcall_guest::HypercallNumber;
use std::io;
use std::path::Path;

/// A call that is to be made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Call {
    number: HypercallNumber,
    arguments: Vec<u64>,
}

/// Reads the calls of `file`, all of them before any is made.
pub(crate) fn read(file: &Path) -> Result<Vec<Call>, Failure> {
    let text = if file == Path::new("-") {
        io::read_to_string(io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.map_err(|error| Failure::Input(file.to_owned(), error))?;
    let mut calls = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        match parse(line) {
            Ok(call) => calls.extend(call),
            Err(failure) => {
                let (place, what) = (file.display(), failure.message());
                return Err(Failure::Usage(format!("{place}, line {number}: {what}")));
            }
        }
    }
    Ok(calls)
}

/// The call of a line, if it has one.
fn parse(line: &str) -> Result<Option<Call>, Failure> {
    let line = line.split('#').next().unwrap_or_default();
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let Some((number, arguments)) = words.split_first() else {
        return Ok(None);
    };
    Ok(Some(Call {
        number: numbers::hypercall(number)?,
        arguments: numbers::arguments(arguments)?,
    }))
}

/// Makes the calls, as many at a time as the module takes.
pub(crate) fn make(
    device: &Device,
    calls: Vec<Call>,
    on_error: OnError,
) -> Result<Vec<Answered>, Failure> {
    let mut memory = vec![BatchEntry::default(); calls.len().min(BATCH_MAX as usize)];
    let mut answered = Vec::with_capacity(calls.len());
    let mut has_ended = false;
    for calls in calls.chunks(BATCH_MAX as usize) {
        let mut batch = Batch::new(&mut memory);
        if !has_ended {
            for call in calls {
                batch
                    .push(call.number, &call.arguments)
                    .map_err(|error| Failure::Usage(error.to_string()))?;
            }
            device.batch(&mut batch, on_error)?;
        }
        answered.extend(calls.iter().enumerate().map(|(index, call)| Answered {
            number: call.number,
            answer: batch.result(index),
        }));
        has_ended = has_ended || ends(&batch, calls.len(), on_error);
    }
    Ok(answered)
}

/// Whether a batch of `calls` calls has ended the whole file.
fn ends(batch: &Batch<'_>, calls: usize, on_error: OnError) -> bool {
    let last_failed = || batch.results().last().is_some_and(|answer| answer.is_err());
    batch.results().len() < calls || (on_error == OnError::Stop && last_failed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_calls_comments_or_nothing() {
        assert_eq!(parse("").ok(), Some(None));
        assert_eq!(parse("  # ECHO 1").ok(), Some(None));
        let call = Call {
            number: hcall_guest::abi::number::ECHO,
            arguments: vec![0x10],
        };
        assert_eq!(parse("\tECHO  0x10 # sixteen").ok(), Some(Some(call)));
        assert!(parse("ECHO ten").is_err());
    }
}
