// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ioctls, and what their failures mean.

use super::DeviceError;
use crate::batch::OnError;
use hcall_abi::batch::BatchEntry;
use hcall_abi::ioctl::{self, Batch, Call, CallBuffer, Info, Restrict};
use hcall_abi::{Errno, HypercallNumber};
use rustix::ioctl::{Opcode, Setter, Updater};
use std::fs::File;

/// `INFO`.
pub(super) fn info(file: &File) -> Result<Info, Errno> {
    let mut info = Info::default();
    // SAFETY: the number encodes the size of `Info`, which is what the kernel writes.
    let request = unsafe { Updater::<{ ioctl::INFO as Opcode }, _>::new(&mut info) };
    // SAFETY: a file that knows the request writes `info` and nothing else of the process.
    unsafe { rustix::ioctl::ioctl(file, request) }.map_err(errno)?;
    Ok(info)
}

/// `CALL`; returns the undecoded answer.
pub(super) fn call(file: &File, mut call: Call) -> Result<i64, Errno> {
    // SAFETY: the number encodes the size of `Call`, which is what the kernel accesses.
    let request = unsafe { Updater::<{ ioctl::CALL as Opcode }, _>::new(&mut call) };
    // SAFETY: an hcall device, which `Device::open_at` made sure of, writes `call` and
    // nothing else of the process.
    unsafe { rustix::ioctl::ioctl(file, request) }.map_err(errno)?;
    Ok(call.result)
}

/// `CALL_BUFFER`; returns the undecoded answer.
///
/// # Safety
///
/// `call.buffer` must be the address of `call.length` bytes that may be read if `flags`
/// has `BUFFER_IN`, and that are the caller's to have overwritten if it has `BUFFER_OUT`.
pub(super) unsafe fn call_buffer(file: &File, mut call: CallBuffer) -> Result<i64, Errno> {
    // SAFETY: the number encodes the size of `CallBuffer`, which is what the kernel accesses.
    let request = unsafe { Updater::<{ ioctl::CALL_BUFFER as Opcode }, _>::new(&mut call) };
    // SAFETY: an hcall device, which `Device::open_at` made sure of, accesses `call` and
    // the buffer, for which the caller vouches.
    unsafe { rustix::ioctl::ioctl(file, request) }.map_err(errno)?;
    Ok(call.result)
}

/// `BATCH` of all `entries`; returns the undecoded answer.
pub(super) fn batch(
    file: &File,
    entries: &mut [BatchEntry],
    on_error: OnError,
) -> Result<i64, Errno> {
    let mut batch = Batch {
        entries: entries.as_mut_ptr().expose_provenance() as u64,
        count: u32::try_from(entries.len()).map_err(|_| Errno::EINVAL)?,
        flags: on_error.flags() as u32,
        result: 0,
    };
    // SAFETY: the number encodes the size of `Batch`, which is what the kernel accesses.
    let request = unsafe { Updater::<{ ioctl::BATCH as Opcode }, _>::new(&mut batch) };
    // SAFETY: an hcall device, which `Device::from_file` made sure of, accesses `batch`, and
    // as many entries as it says, which are borrowed exclusively and of plain integers.
    unsafe { rustix::ioctl::ioctl(file, request) }.map_err(errno)?;
    Ok(batch.result)
}

/// `RESTRICT`.
pub(super) fn restrict(file: &File, restrict: Restrict) -> Result<(), Errno> {
    // SAFETY: the number encodes the size of `Restrict`, which is what the kernel reads.
    let request = unsafe { Setter::<{ ioctl::RESTRICT as Opcode }, _>::new(restrict) };
    // SAFETY: an hcall device, which `Device::from_file` made sure of, only reads it.
    unsafe { rustix::ioctl::ioctl(file, request) }.map_err(errno)
}

/// What the failure of a batch's ioctl means.
pub(super) fn batch_failure(errno: Errno) -> DeviceError {
    match errno {
        Errno::EPERM => DeviceError::BatchRefused,
        Errno::EOPNOTSUPP => DeviceError::Transport,
        errno => DeviceError::Request {
            request: "BATCH",
            errno,
        },
    }
}

/// What the failure of a restriction means.
pub(super) fn restrict_failure(errno: Errno) -> DeviceError {
    match errno {
        Errno::EPERM => DeviceError::Widening,
        errno => DeviceError::Request {
            request: "RESTRICT",
            errno,
        },
    }
}

/// What the failure of a call's ioctl means.
pub(super) fn failure(request: &'static str, number: HypercallNumber, errno: Errno) -> DeviceError {
    match errno {
        Errno::EPERM => DeviceError::Refused(number),
        Errno::EOPNOTSUPP => DeviceError::Transport,
        errno => DeviceError::Request { request, errno },
    }
}

pub(super) fn errno(error: rustix::io::Errno) -> Errno {
    from_os(error.raw_os_error())
}

/// Every errno that Linux returns is between 1 and 4095.
pub(super) fn from_os(raw: i32) -> Errno {
    u16::try_from(raw)
        .ok()
        .and_then(Errno::new)
        .unwrap_or(Errno::EIO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hcall_abi::number::ECHO;

    #[test]
    fn policy_transport_and_the_rest_are_told_apart() {
        assert_eq!(
            failure("CALL", ECHO, Errno::EPERM),
            DeviceError::Refused(ECHO)
        );
        assert_eq!(
            failure("CALL", ECHO, Errno::EOPNOTSUPP),
            DeviceError::Transport
        );
        let fault = DeviceError::Request {
            request: "CALL",
            errno: Errno::EFAULT,
        };
        assert_eq!(failure("CALL", ECHO, Errno::EFAULT), fault);
    }

    #[test]
    fn other_files_do_not_know_the_requests() {
        let null = File::open("/dev/null").unwrap();
        assert_eq!(info(&null), Err(Errno::ENOTTY));
        assert_eq!(call(&null, Call::default()), Err(Errno::ENOTTY));
        let mut entries = [BatchEntry::default(); 1];
        assert_eq!(
            batch(&null, &mut entries, OnError::Continue),
            Err(Errno::ENOTTY)
        );
        assert_eq!(restrict(&null, Restrict::default()), Err(Errno::ENOTTY));
    }
}
