// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of the machine.

use std::io;
use std::process::ExitCode;
use std::str::FromStr;

use rustix::system::{reboot, RebootCommand};

use crate::bochs;
use crate::say::say;

/// How to end the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    /// By ACPI.
    #[default]
    PowerOff,
    /// By a reset, for machines without ACPI; `reboot=t` makes it a triple fault.
    Reset,
    /// By what Bochs has in place of a power-off.
    Bochs,
}

impl FromStr for End {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "poweroff" => Ok(Self::PowerOff),
            "reset" => Ok(Self::Reset),
            "bochs" => Ok(Self::Bochs),
            _ => Err(format!(
                "lab.end={text}: poweroff, reset or bochs was expected"
            )),
        }
    }
}

/// Ends the machine. Comes back only if the kernel refuses; what process 1 returns then
/// is in the kernel's last words.
pub(crate) fn end(how: End) -> ExitCode {
    // The last line must be out of the serial port before the machine is gone.
    let _ = rustix::termios::tcdrain(io::stdout());
    rustix::fs::sync();
    let ended = match how {
        End::PowerOff => reboot(RebootCommand::PowerOff).map_err(io::Error::from),
        End::Reset => reboot(RebootCommand::Restart).map_err(io::Error::from),
        End::Bochs => bochs::shut_down(),
    };
    if let Err(error) = ended {
        say(format_args!("cannot end the machine: {error}"));
    }
    ExitCode::FAILURE
}
