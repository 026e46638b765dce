// SPDX-License-Identifier: MIT OR Apache-2.0
//! An older Landlock: a thread of the same process answers who asks for its version.

use crate::child::status_of;
use crate::pretend::{answer, install, load, unless_skip};
use crate::refusals::paths_are_refused;
use hcall_vmm::sandbox::{FileAccess, Sandbox};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::mpsc::channel;
use std::{io, thread};

/// Where the kernel puts the call's number and the low half of its argument 2.
const NUMBER: u32 = 0;
const ARGUMENT_2: u32 = 32;

/// LANDLOCK_CREATE_RULESET_VERSION, in argument 2.
const VERSION: u32 = 1;

/// The version that every Landlock can do: of the network it knows nothing.
const FIRST: i64 = 1;
/// The first that knows TCP.
const NETWORK: i64 = 4;

/// The version that the calling thread is told.
fn version() -> i64 {
    // SAFETY: it has no pointers.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, VERSION) }
}

/// Has the calling thread's question for Landlock's version told to whoever has the descriptor.
fn ask_somebody_else() -> io::Result<OwnedFd> {
    let program = [
        load(NUMBER),
        unless_skip(libc::SYS_landlock_create_ruleset as u32, 3),
        load(ARGUMENT_2),
        unless_skip(VERSION, 1),
        answer(libc::SECCOMP_RET_USER_NOTIF),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let listener = install(&program, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)?;
    // SAFETY: the kernel has just made it, for this caller.
    Ok(unsafe { OwnedFd::from_raw_fd(listener as i32) })
}

/// Answers with `version` until nobody can ask any more.
fn answer_with(version: i64, listener: &OwnedFd) {
    loop {
        // SAFETY: a structure of integers, which the kernel wants to be zero.
        let mut question: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        let request = libc::SECCOMP_IOCTL_NOTIF_RECV;
        // SAFETY: the kernel writes the structure that this request is for.
        if unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw mut question) } != 0 {
            return;
        }
        let mut reply = libc::seccomp_notif_resp {
            id: question.id,
            val: version,
            error: 0,
            flags: 0,
        };
        let request = libc::SECCOMP_IOCTL_NOTIF_SEND;
        // SAFETY: as above, and the kernel only reads it.
        unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw mut reply) };
    }
}

fn enclosed_by(version: Option<i64>) -> Result<(), String> {
    let say = |error: io::Error| error.to_string();
    if let Some(version) = version {
        // The thread is there before the filter, and so is not asked itself.
        let (sender, receiver) = channel();
        thread::spawn(move || {
            if let Ok(listener) = receiver.recv() {
                answer_with(version, &listener);
            }
        });
        sender
            .send(ask_somebody_else().map_err(say)?)
            .map_err(|error| error.to_string())?;
    }
    let enclosure = Sandbox::new().enclose().map_err(say)?;
    if version.is_some() && enclosure.file_access != FileAccess::Newer {
        return Err(format!("{enclosure:?}"));
    }
    paths_are_refused()?;
    TcpListener::bind("127.0.0.1:0").map(drop).map_err(say)
}

/// It refuses what it knows. A port it does not know, and that one can be had shows that the
/// version was believed.
#[test]
fn an_older_landlock_refuses_paths() {
    assert_eq!(status_of(|| enclosed_by(Some(FIRST))), 0);
    if version() >= NETWORK {
        assert_ne!(status_of(|| enclosed_by(None)), 0);
    }
}
