// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a command did not succeed.

use hcall_guest::device::DeviceError;
use hcall_guest::CallError;
use serde_json::{json, Value};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// The failure of a command.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line makes no sense.
    Usage(String),
    /// The host could not be asked, or answered with a failure.
    Device(DeviceError),
    /// A file could not be read.
    Input(PathBuf, io::Error),
    /// A command could not be run.
    Execute(OsString, io::Error),
    /// Something of the kernel's that a command needs is not there; the line says what to do.
    Unavailable(String),
    /// The answer could not be written to standard output.
    Output(io::Error),
}

impl From<DeviceError> for Failure {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

impl Failure {
    /// The exit status.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            _ => 1,
        }
    }

    /// One line for people.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Usage(message) | Self::Unavailable(message) => message.clone(),
            Self::Device(error) => error.to_string(),
            Self::Input(file, error) => format!("cannot read {}: {error}", file.display()),
            Self::Execute(program, error) => {
                format!("cannot run {}: {error}", program.to_string_lossy())
            }
            Self::Output(error) => format!("cannot write to standard output: {error}"),
        }
    }

    /// One object for programs.
    pub(crate) fn json(&self) -> Value {
        let mut error = json!({"kind": self.kind(), "message": self.message()});
        if let Self::Device(DeviceError::Call(CallError::Errno(errno))) = self {
            error["errno"] = errno.get().into();
            error["name"] = errno.name().into();
        }
        json!({"ok": false, "error": error})
    }

    /// A word for programs to decide by.
    fn kind(&self) -> &'static str {
        match self {
            Self::Usage(_) => "usage",
            Self::Input(..) => "input",
            Self::Unavailable(_) => "unavailable",
            Self::Execute(..) => "execute",
            Self::Output(_) => "output",
            Self::Device(error) => match error {
                DeviceError::Open { .. } => "open",
                DeviceError::NotHcall { .. } => "not-hcall",
                DeviceError::Refused(_) | DeviceError::BatchRefused | DeviceError::Widening => {
                    "refused"
                }
                DeviceError::Transport => "transport",
                DeviceError::Call(CallError::Errno(_)) => "errno",
                DeviceError::Call(CallError::NotHcall) => "no-host",
                DeviceError::Call(_) | DeviceError::Nonsense { .. } => "malformed",
                _ => "request",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hcall_guest::Errno;

    #[test]
    fn the_hosts_errno_is_named() {
        let failure = Failure::Device(CallError::Errno(Errno::ENOSYS).into());
        assert_eq!(
            failure.message(),
            "the host answered ENOSYS: not implemented"
        );
        let json = failure.json();
        assert_eq!(json["ok"], false);
        assert_eq!(json["error"]["kind"], "errno");
        assert_eq!(json["error"]["errno"], 38);
        assert_eq!(json["error"]["name"], "ENOSYS");
    }
}
