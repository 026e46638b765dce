// SPDX-License-Identifier: MIT OR Apache-2.0
//! What has been received and not been read yet: at most one frame, and what one `recv` brings.

use super::protocol::{split, Frame, ProtocolError, HEADER_BYTES};
use rustix::io::Errno as SystemError;
use rustix::net::{recv, RecvFlags};
use std::os::fd::AsFd;

/// Most bytes that are received at once.
const CHUNK: usize = 64 * 1024;

/// What one look at the socket brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Something, or nothing yet.
    Open,
    /// The other end has closed.
    Closed,
}

/// See the module.
pub(super) struct Incoming {
    bytes: Vec<u8>,
    /// Of these, how many have been received, and of those, how many have been read.
    received: usize,
    read: usize,
    /// Most bytes of a frame's body.
    most: usize,
}

impl Incoming {
    pub(super) fn new(most: usize) -> Self {
        Self {
            bytes: Vec::new(),
            received: 0,
            read: 0,
            most,
        }
    }

    /// From now on frames' bodies have at most so many bytes.
    pub(super) fn limit(&mut self, most: usize) {
        self.most = most;
    }

    /// Receives what is there; does not wait.
    pub(super) fn receive(&mut self, socket: impl AsFd) -> Result<Received, SystemError> {
        self.make_room();
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

    /// There is always room: what is kept is less than a frame, as whoever receives reads all
    /// frames first.
    fn make_room(&mut self) {
        self.bytes.copy_within(self.read..self.received, 0);
        self.received -= self.read;
        self.read = 0;
        let size = CHUNK.min(HEADER_BYTES + self.most).max(self.received + 1);
        let size = if self.received * 2 > size {
            HEADER_BYTES + self.most
        } else {
            size
        };
        if self.bytes.len() < size {
            self.bytes.resize(size, 0);
        }
    }

    /// The next whole frame.
    pub(super) fn next(&mut self) -> Result<Option<Frame<'_>>, ProtocolError> {
        let frame = split(&self.bytes[self.read..self.received], self.most)?;
        if let Some(frame) = &frame {
            self.read += frame.size();
        }
        Ok(frame)
    }
}
