// SPDX-License-Identifier: MIT OR Apache-2.0
//! A process of another user's that gets an open device over a socket, and can do with it
//! what it was left, and nothing else.

use crate::failure::{equal, Check, Failure};
use crate::widening;
use hcall_guest::device::Device;
use rustix::net::{
    recvmsg, sendmsg, socketpair, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage,
    RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::thread::CapabilitySet;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

/// The program's first argument when it is to be that process.
pub(crate) const ROLE: &str = "confined";

/// nobody, nogroup.
const NOBODY: u32 = 65534;

/// Runs the process with `device`, which may call `ECHO` and `TSC_KHZ`, and has it try the
/// way with this name.
pub(crate) fn run(device: &Device, way: &str) -> Check {
    let (own, theirs) = pair()?;
    let child = Command::new(std::env::current_exe()?)
        .args([ROLE, way])
        .gid(NOBODY)
        .uid(NOBODY)
        .stdin(Stdio::from(theirs))
        .stderr(Stdio::piped())
        .spawn()?;
    send(&own, device.as_fd())?;
    let output = child.wait_with_output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("{}: {complaint}", output.status)))
}

pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Failure> {
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

pub(crate) fn send(socket: &OwnedFd, file: BorrowedFd<'_>) -> Check {
    let fds = [file];
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

pub(crate) fn receive(socket: impl AsFd) -> Result<OwnedFd, Failure> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(
        socket,
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
    let user = rustix::process::getuid().as_raw();
    equal("user", user, NOBODY)?;
    let held = rustix::thread::capabilities(None)?;
    equal("capabilities", held.permitted, CapabilitySet::empty())?;
    let file = match std::env::var(widening::INHERITED) {
        Ok(number) => widening::inherited(&number)?,
        Err(_) => receive(std::io::stdin())?,
    };
    let name = std::env::args().nth(2).unwrap_or_default();
    widening::try_way(&name, file)
}
