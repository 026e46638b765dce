// SPDX-License-Identifier: MIT OR Apache-2.0
//! The beginning of a connection: both ends say what they speak, and the handler which memory
//! it wants.

use super::incoming::{Incoming, Received};
use super::protocol::{FrameKind, Hello, ProtocolError, Ranges, Welcome};
use super::receiving::time_to;
use super::ExternalError;
use hcall_abi::HypercallNumber;
use rustix::event::{poll, PollFd, PollFlags};
use rustix::io::Errno as SystemError;
use rustix::net::{send, SendFlags};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Greets, and waits for the handler's greeting at most as long.
pub(super) fn greet(
    socket: &UnixStream,
    number: HypercallNumber,
    time_limit: Duration,
) -> Result<(Ranges, Incoming), ExternalError> {
    let deadline = Instant::now() + time_limit;
    send_hello(socket, number)?;
    let mut incoming = Incoming::new(Welcome::BODY_BYTES_MAX);
    loop {
        if let Some(welcome) = read_welcome(&mut incoming)? {
            return Ok((welcome.ranges, incoming));
        }
        if Instant::now() >= deadline {
            return Err(ExternalError::Silent(time_limit));
        }
        let mut descriptors = [PollFd::new(socket, PollFlags::IN)];
        match poll(&mut descriptors, Some(&time_to(deadline))) {
            Ok(0) | Err(SystemError::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(system("wait for the handler")(error)),
        }
        match incoming.receive(socket) {
            Ok(Received::Open) => {}
            Ok(Received::Closed) | Err(SystemError::CONNRESET) => {
                return Err(ExternalError::Closed(number))
            }
            Err(error) => return Err(system("receive the handler's greeting")(error)),
        }
    }
}

fn send_hello(socket: &UnixStream, number: HypercallNumber) -> Result<(), ExternalError> {
    let hello = Hello::new(number).encode();
    match send(socket, &hello, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        // Nothing has been sent before: it fits.
        Ok(sent) if sent == hello.len() => Ok(()),
        Ok(_) | Err(SystemError::PIPE) => Err(ExternalError::Closed(number)),
        Err(error) => Err(system("greet the handler")(error)),
    }
}

fn read_welcome(incoming: &mut Incoming) -> Result<Option<Welcome>, ProtocolError> {
    let Some(frame) = incoming.next()? else {
        return Ok(None);
    };
    frame.expect(FrameKind::Welcome)?;
    Ok(Some(Welcome::decode(frame.body)?))
}

/// Why something that was asked of the kernel did not come about.
fn system(what: &'static str) -> impl FnOnce(SystemError) -> ExternalError {
    move |error| ExternalError::System {
        what,
        source: error.into(),
    }
}
