// SPDX-License-Identifier: MIT OR Apache-2.0
//! What each command does.

use crate::answer::Answer;
use crate::arguments::{Command, CommandLine};
use crate::failure::Failure;
use crate::{bench, calls, numbers, stats, trace};
use hcall_guest::abi::number::ECHO;
use hcall_guest::batch::OnError;
use hcall_guest::device::{Device, DeviceError};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

/// Runs the command; the command line is checked before the device is opened.
pub(crate) fn run(line: &CommandLine) -> Result<Answer, Failure> {
    let open = || open(line.device.as_deref());
    match &line.command {
        Command::Info => Ok(Answer::Info(*open()?.info())),
        Command::Call { number, arguments } => {
            let number = numbers::hypercall(number)?;
            let arguments = numbers::arguments(arguments)?;
            Ok(Answer::Payload(open()?.call(number, &arguments)?))
        }
        Command::Echo { value } => {
            let value = numbers::argument(value)?;
            Ok(Answer::Payload(open()?.call(ECHO, &[value])?))
        }
        Command::Log { text } => {
            let line = joined(text);
            open()?.console_write(&line)?;
            Ok(Answer::Written(line.len()))
        }
        Command::Batch {
            stop_on_error,
            file,
        } => {
            let on_error = if *stop_on_error {
                OnError::Stop
            } else {
                OnError::Continue
            };
            let calls = calls::read(file)?;
            Ok(Answer::Batch(calls::make(&open()?, calls, on_error)?))
        }
        Command::Stats { what } => stats::run(*what, open),
        Command::Trace { count } => Ok(Answer::Traced(trace::follow(*count, line.format())?)),
        Command::Bench { call, calls } => {
            let device = open()?;
            let info = *device.info();
            Ok(Answer::Bench(info, bench::run(device, *call, *calls)?))
        }
        Command::Restrict { ranges, command } => {
            let ranges = numbers::ranges(ranges)?;
            let device = open()?;
            device.restrict(&ranges)?;
            Err(execute(&device, command))
        }
    }
}

/// The device at `path`; without one the inherited, without that the usual.
fn open(path: Option<&Path>) -> Result<Device, DeviceError> {
    match path {
        Some(path) => Device::open_at(path),
        None => Device::inherited().unwrap_or_else(Device::open),
    }
}

/// Becomes the command; returns only if that failed.
fn execute(device: &Device, command: &[OsString]) -> Failure {
    let Some((program, arguments)) = command.split_first() else {
        return Failure::Usage("a command is needed".to_owned());
    };
    let mut command = std::process::Command::new(program);
    command.args(arguments);
    match device.hand_to(&mut command) {
        Ok(()) => Failure::Execute(program.clone(), command.exec()),
        Err(error) => error.into(),
    }
}

/// The words with spaces between and a newline after them, whatever their encoding.
fn joined(words: &[OsString]) -> Vec<u8> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let mut line = words.join(&b' ');
    line.push(b'\n');
    line
}
