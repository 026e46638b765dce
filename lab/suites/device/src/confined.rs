// SPDX-License-Identifier: MIT OR Apache-2.0
//! A process of another user's that gets an open device over a socket, and can do with it
//! what it was left, and nothing else.

use crate::failure::{equal, Check, Failure};
use hcall_guest::abi::ioctl::NumberRange;
use hcall_guest::abi::number::{ECHO, PROBE, TSC_KHZ};
use hcall_guest::device::{Device, DeviceError};
use hcall_guest::Errno;
use rustix::net::{
    recvmsg, sendmsg, socketpair, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage,
    RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

/// The program's first argument when it is to be that process.
pub(crate) const ROLE: &str = "confined";

/// nobody, nogroup.
const NOBODY: u32 = 65534;

/// Runs the process with `device`, which may call `ECHO` and `TSC_KHZ`.
pub(crate) fn run(device: &Device) -> Check {
    let (own, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let child = Command::new(std::env::current_exe()?)
        .arg(ROLE)
        .gid(NOBODY)
        .uid(NOBODY)
        .stdin(Stdio::from(theirs))
        .stderr(Stdio::piped())
        .spawn()?;
    send(&own, device)?;
    let output = child.wait_with_output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("{}: {complaint}", output.status)))
}

fn send(socket: &OwnedFd, device: &Device) -> Check {
    let fds = [device.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    equal(
        "room",
        control.push(SendAncillaryMessage::ScmRights(&fds)),
        true,
    )?;
    sendmsg(
        socket,
        &[IoSlice::new(b"d")],
        &mut control,
        SendFlags::empty(),
    )?;
    Ok(())
}

fn receive() -> Result<OwnedFd, Failure> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(
        std::io::stdin(),
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = message {
            if let Some(fd) = fds.next() {
                return Ok(fd);
            }
        }
    }
    Err(Failure::new("no file descriptor arrived"))
}

/// The process itself.
pub(crate) fn main() -> ExitCode {
    match check() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> Check {
    let one = |number: hcall_guest::HypercallNumber| NumberRange {
        first: number.get(),
        last: number.get(),
    };
    let device = Device::from_fd(receive()?)?;
    let user = rustix::process::getuid().as_raw();
    equal("user", user, NOBODY)?;
    let opened = Device::open().map(drop);
    let is_denied = matches!(
        opened,
        Err(DeviceError::Open {
            errno: Errno::EACCES,
            ..
        })
    );
    equal("a device of one's own is denied", is_denied, true)?;

    equal("ECHO", device.hcall1(ECHO, 7), Ok(7))?;
    equal("TSC_KHZ", device.hcall0(TSC_KHZ).is_ok(), true)?;
    equal(
        "PROBE",
        device.hcall0(PROBE),
        Err(DeviceError::Refused(PROBE)),
    )?;
    let widened = device.restrict(&[one(ECHO), one(PROBE)]);
    equal("widening", widened, Err(DeviceError::Widening))?;
    device.restrict(&[one(ECHO)])?;
    equal("ECHO", device.hcall1(ECHO, 7), Ok(7))?;
    let refusal = Err(DeviceError::Refused(TSC_KHZ));
    equal("TSC_KHZ", device.hcall0(TSC_KHZ), refusal)
}
