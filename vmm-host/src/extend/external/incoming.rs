// SPDX-License-Identifier: MIT OR Apache-2.0
//! What has been received and not been read yet.

use super::protocol::{split, Frame, ProtocolError, HEADER_BYTES};
use rustix::io::Errno as SystemError;
use rustix::net::{recv, RecvFlags};
use std::os::fd::AsFd;

/// Least bytes that there is room for: many small frames come with one look.
const ROOM_MIN: usize = 4096;

/// What a look at the socket found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Something, or nothing yet.
    Open,
    /// The other end has closed.
    Closed,
}

/// See the module. There is always room for more: whoever receives has read every whole frame
/// before, and a frame that is not whole is shorter than the longest.
pub(super) struct Incoming {
    bytes: Vec<u8>,
    received: usize,
    /// Of these, how many have been read.
    read: usize,
    /// Most bytes of a frame's body.
    most: usize,
}

impl Incoming {
    /// For frames with at most `most` bytes after the header.
    pub(super) fn new(most: usize) -> Self {
        let mut incoming = Self {
            bytes: Vec::new(),
            received: 0,
            read: 0,
            most: 0,
        };
        incoming.limit(most);
        incoming
    }

    /// Changes how many bytes a frame has at most after the header.
    pub(super) fn limit(&mut self, most: usize) {
        self.most = most;
        let room = ROOM_MIN.max(HEADER_BYTES + most);
        if self.bytes.len() < room {
            self.bytes.resize(room, 0);
        }
    }

    /// Receives what is there, and does not wait.
    pub(super) fn receive(&mut self, socket: impl AsFd) -> Result<Received, SystemError> {
        self.bytes.copy_within(self.read..self.received, 0);
        self.received -= self.read;
        self.read = 0;
        let room = &mut self.bytes[self.received..];
        match recv(socket, room, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Ok(Received::Closed),
            Ok((count, _)) => {
                self.received += count;
                Ok(Received::Open)
            }
            Err(SystemError::AGAIN | SystemError::INTR) => Ok(Received::Open),
            Err(error) => Err(error),
        }
    }

    /// The next whole frame.
    pub(super) fn next(&mut self) -> Result<Option<Frame<'_>>, ProtocolError> {
        let frame = split(&self.bytes[self.read..self.received], self.most)?;
        self.read += frame.map_or(0, |frame| frame.size());
        Ok(frame)
    }
}
