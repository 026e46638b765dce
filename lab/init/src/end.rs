// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of the machine.

use std::io;
use std::process::ExitCode;
use std::str::FromStr;

use rustix::system::{reboot, RebootCommand};

use crate::say::say;

/// How to end the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    /// By ACPI.
    #[default]
    PowerOff,
    /// By a reset, for machines without ACPI; `reboot=t` makes it a triple fault.
    Reset,
}

impl FromStr for End {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "poweroff" => Ok(Self::PowerOff),
            "reset" => Ok(Self::Reset),
            _ => Err(format!("lab.end={text}: poweroff or reset was expected")),
        }
    }
}

/// Ends the machine. Comes back only if the kernel refuses; what process 1 returns then
/// is in the kernel's last words.
pub(crate) fn end(how: End) -> ExitCode {
    // The last line must be out of the serial port before the machine is gone.
    let _ = rustix::termios::tcdrain(io::stdout());
    rustix::fs::sync();
    let command = match how {
        End::PowerOff => RebootCommand::PowerOff,
        End::Reset => RebootCommand::Restart,
    };
    if let Err(error) = reboot(command) {
        say(format_args!("cannot end the machine: {error}"));
    }
    ExitCode::FAILURE
}
