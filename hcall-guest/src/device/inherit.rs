// SPDX-License-Identifier: MIT OR Apache-2.0
//! An open device handed from one process to another: to a program that is executed, or over
//! a socket. What it may call goes with it.

use super::{request, Device, DeviceError};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::process::Command;

/// The environment variable that holds the number of an inherited file descriptor of the
/// device.
pub const INHERITED_VARIABLE: &str = "HCALL_FD";

impl Device {
    /// Takes a file descriptor that another process has opened, and perhaps restricted.
    ///
    /// # Errors
    ///
    /// [`DeviceError::NotHcall`] if it is that of something else.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, DeviceError> {
        let path = PathBuf::from(format!("file descriptor {}", fd.as_raw_fd()));
        Self::from_file(File::from(fd), &path)
    }

    /// The device that this process has inherited from one that executed it after
    /// [`hand_to`](Self::hand_to); `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`DeviceError::NotHcall`] if the descriptor is not that of a device.
    pub fn inherited() -> Option<Result<Self, DeviceError>> {
        let number = std::env::var(INHERITED_VARIABLE).ok()?;
        let not_hcall = || DeviceError::NotHcall {
            path: PathBuf::from(format!("{INHERITED_VARIABLE}={number}")),
        };
        Some(match number.parse::<RawFd>() {
            Ok(fd) if fd >= 0 => {
                // SAFETY: the number is not −1. It is only duplicated, so whoever has it in
                // this process keeps it; if nobody has, that fails.
                let theirs = unsafe { BorrowedFd::borrow_raw(fd) };
                match theirs.try_clone_to_owned() {
                    Ok(own) => Self::from_fd(own).map_err(|_| not_hcall()),
                    Err(_) => Err(not_hcall()),
                }
            }
            _ => Err(not_hcall()),
        })
    }

    /// Has `command`, and every program that this process executes from now on, inherit the
    /// device; `command` finds it by [`inherited`](Self::inherited).
    ///
    /// # Errors
    ///
    /// [`DeviceError::Request`] if the descriptor cannot be made inheritable.
    pub fn hand_to(&self, command: &mut Command) -> Result<(), DeviceError> {
        rustix::io::fcntl_setfd(self, rustix::io::FdFlags::empty()).map_err(|error| {
            DeviceError::Request {
                request: "F_SETFD",
                errno: request::errno(error),
            }
        })?;
        command.env(INHERITED_VARIABLE, self.as_fd().as_raw_fd().to_string());
        Ok(())
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file().as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptor_of_something_else_is_refused() {
        let null = File::open("/dev/null").unwrap();
        let error = Device::from_fd(null.into()).unwrap_err();
        assert!(matches!(error, DeviceError::NotHcall { .. }), "{error}");
    }
}
