// SPDX-License-Identifier: MIT OR Apache-2.0
//! What each command does.

use crate::answer::Answer;
use crate::arguments::{Command, CommandLine};
use crate::failure::Failure;
use crate::numbers;
use hcall_guest::abi::number::ECHO;
use hcall_guest::device::Device;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// Runs the command; the command line is checked before the device is opened.
pub(crate) fn run(line: &CommandLine) -> Result<Answer, Failure> {
    let open = || Device::open_at(&line.device);
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
    }
}

/// The words with spaces between and a newline after them, whatever their encoding.
fn joined(words: &[OsString]) -> Vec<u8> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let mut line = words.join(&b' ');
    line.push(b'\n');
    line
}
