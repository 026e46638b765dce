// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands: run to their end, with the orphans of all processes reaped meanwhile.

use std::process::Command;

use rustix::io::Errno;
use rustix::process::{wait, Pid, WaitOptions, WaitStatus};

use crate::say::say;

/// A shell's status for a command that could not be started.
const NOT_STARTED: i32 = 127;

/// Runs a program with its arguments and returns its status as a shell would.
pub(crate) fn run(command: &[String]) -> Result<i32, String> {
    let [program, arguments @ ..] = command else {
        return Err("an empty command".to_owned());
    };
    say(format_args!("run {}", command.join(" ")));
    match Command::new(program)
        .args(arguments)
        .env("PATH", "/bin")
        .spawn()
    {
        Ok(child) => reap_until(Pid::from_child(&child)),
        Err(error) => {
            say(format_args!("cannot run {program}: {error}"));
            Ok(NOT_STARTED)
        }
    }
}

fn reap_until(child: Pid) -> Result<i32, String> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == child => return Ok(shell_status(status)),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(format!("cannot wait for a process: {error}")),
        }
    }
}

fn shell_status(status: WaitStatus) -> i32 {
    status
        .exit_status()
        .or_else(|| Some(128 + status.terminating_signal()?))
        .unwrap_or(NOT_STARTED)
}
