// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a client opened and passed: whether it is what its request says.

use super::protocol::Refusal;
use crate::extend::{HandlerSource, OpenedSource};
use rustix::fs::{fcntl_getfl, fstat, FileType, OFlags};
use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{getpeername, AddressFamily, SocketType};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

/// The source that a request names, with the descriptor that came with it.
pub(super) fn open(
    source: &HandlerSource,
    descriptor: Option<OwnedFd>,
) -> Result<OpenedSource, Refusal> {
    match (source, descriptor) {
        (HandlerSource::Unix(_), Some(socket)) if is_connected_stream(&socket) => {
            Ok(OpenedSource::Socket(UnixStream::from(socket)))
        }
        (HandlerSource::Unix(_), Some(_)) => Err(wrong("a connected Unix stream socket")),
        (HandlerSource::Plugin(path), Some(file)) if is_readable_file(&file) => {
            Ok(OpenedSource::Plugin {
                file: file.into(),
                name: path.to_string_lossy().into_owned(),
            })
        }
        (HandlerSource::Plugin(_), Some(_)) => Err(wrong("a regular file opened to read")),
        (HandlerSource::Unix(_) | HandlerSource::Plugin(_), None) => Err(Refusal::new(
            "descriptor-missing",
            "the VMM opens nothing itself: open the source, and pass the descriptor with the \
             request (SCM_RIGHTS), as `hcall-vmm ctl` does",
        )),
        (HandlerSource::Value(value), None) => Ok(OpenedSource::Value(*value)),
        (HandlerSource::Error(errno), None) => Ok(OpenedSource::Error(*errno)),
        (HandlerSource::Value(_) | HandlerSource::Error(_), Some(_)) => Err(needless()),
    }
}

/// A descriptor that belongs to no request.
pub(super) fn needless() -> Refusal {
    Refusal::new("descriptor-needless", "this request has no descriptor")
}

fn wrong(expected: &str) -> Refusal {
    let message = format!("the descriptor that came with the request is not {expected}");
    Refusal::new("descriptor-wrong", message)
}

fn is_connected_stream(socket: &OwnedFd) -> bool {
    socket_domain(socket) == Ok(AddressFamily::UNIX)
        && socket_type(socket) == Ok(SocketType::STREAM)
        && socket_acceptconn(socket) == Ok(false)
        && getpeername(socket).is_ok()
}

fn is_readable_file(file: &OwnedFd) -> bool {
    let is_regular = fstat(file)
        .is_ok_and(|metadata| FileType::from_raw_mode(metadata.st_mode) == FileType::RegularFile);
    let is_readable = fcntl_getfl(file).is_ok_and(|flags| {
        !flags.contains(OFlags::PATH) && flags & OFlags::ACCMODE != OFlags::WRONLY
    });
    is_regular && is_readable
}
