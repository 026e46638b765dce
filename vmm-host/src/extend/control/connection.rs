// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bytes and descriptors from one client, answers to it; neither is waited for, and both are
//! bounded.

use super::protocol::REQUEST_LIMIT;
use rustix::event::PollFlags;
use rustix::fs::{fcntl_getfl, fcntl_setfl, OFlags};
use rustix::io::Errno;
use rustix::net::{
    recvmsg, send, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags,
};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long a client may take over a line, and over an answer.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Bytes that are received at a time.
const CHUNK: usize = 4096;

/// Most descriptors that are taken out of one message; a request has one.
const DESCRIPTORS: usize = 4;

/// A client.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    input: Vec<u8>,
    /// Descriptors that came with bytes of the line that is not complete yet.
    descriptors: Vec<OwnedFd>,
    output: Vec<u8>,
    sent: usize,
    /// When the client must have done what it is at.
    deadline: Option<Instant>,
    /// When it was last at something.
    pub(super) last_seen: Instant,
    ending: Ending,
}

/// Whether anything follows the answer that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Open,
    AfterAnswer,
}

/// What a client has said.
#[derive(Debug)]
pub(super) enum Said {
    /// Nothing whole.
    Nothing,
    /// A line, and what came with it.
    Line(Vec<u8>, Vec<OwnedFd>),
    /// The head of a request by HTTP.
    Http(Vec<u8>),
    /// More than a request has.
    TooMuch(&'static str),
}

/// The client is gone, or is to be.
#[derive(Debug)]
pub(super) struct Gone;

impl Connection {
    pub(super) fn new(socket: OwnedFd) -> Result<Self, Errno> {
        fcntl_setfl(&socket, fcntl_getfl(&socket)? | OFlags::NONBLOCK)?;
        Ok(Self {
            socket,
            input: Vec::new(),
            descriptors: Vec::new(),
            output: Vec::new(),
            sent: 0,
            deadline: None,
            last_seen: Instant::now(),
            ending: Ending::Open,
        })
    }

    /// The socket, and what is waited for there.
    pub(super) fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        let wanted = if self.is_answering() {
            PollFlags::OUT
        } else {
            PollFlags::IN
        };
        (self.socket.as_fd(), wanted)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether an answer is under way: until then no other request is looked at.
    pub(super) fn is_answering(&self) -> bool {
        self.sent < self.output.len()
    }

    /// Takes in what is there, as much as one message holds.
    pub(super) fn receive(&mut self) -> Result<Said, Gone> {
        let mut chunk = [0; CHUNK];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            &self.socket,
            &mut [IoSliceMut::new(&mut chunk)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
        );
        let received = match received {
            Ok(received) => received,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Said::Nothing),
            Err(_) => return Err(Gone),
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        let is_truncated = received.flags.contains(ReturnFlags::CTRUNC);
        if is_truncated || self.descriptors.len() > 1 {
            self.descriptors.clear();
            return Ok(Said::TooMuch("a request has at most one descriptor"));
        }
        if received.bytes == 0 {
            return Err(Gone);
        }
        if self.input.is_empty() {
            self.deadline = Some(Instant::now() + TIME_LIMIT);
        }
        self.input.extend_from_slice(&chunk[..received.bytes]);
        Ok(self.next())
    }

    /// What the client has said, of what has been taken in.
    pub(super) fn next(&mut self) -> Said {
        if self.is_http() {
            return match find(&self.input, b"\r\n\r\n") {
                Some(length) => Said::Http(self.take(length)),
                None => self.incomplete(),
            };
        }
        match self.input.iter().position(|byte| *byte == b'\n') {
            Some(length) if length <= REQUEST_LIMIT => {
                let line = self.take(length + 1);
                Said::Line(line, std::mem::take(&mut self.descriptors))
            }
            _ => self.incomplete(),
        }
    }

    fn incomplete(&self) -> Said {
        if self.input.len() > REQUEST_LIMIT {
            return Said::TooMuch("a request has at most 16 KiB");
        }
        Said::Nothing
    }

    /// A request begins with a brace, one by HTTP with a capital letter.
    fn is_http(&self) -> bool {
        self.input.first().is_some_and(u8::is_ascii_uppercase)
    }

    /// Takes the first bytes of the input; the time for the next request begins.
    fn take(&mut self, length: usize) -> Vec<u8> {
        let rest = self.input.split_off(length);
        self.deadline = (!rest.is_empty()).then(|| Instant::now() + TIME_LIMIT);
        self.last_seen = Instant::now();
        std::mem::replace(&mut self.input, rest)
    }

    /// Begins to send an answer.
    pub(super) fn answer(&mut self, answer: Vec<u8>, ending: Ending) -> Result<(), Gone> {
        self.output = answer;
        self.sent = 0;
        self.ending = ending;
        self.deadline = Some(Instant::now() + TIME_LIMIT);
        self.send()
    }

    /// Sends what the socket takes.
    pub(super) fn send(&mut self) -> Result<(), Gone> {
        while self.is_answering() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match send(&self.socket, &self.output[self.sent..], flags) {
                Ok(sent) => self.sent += sent,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(_) => return Err(Gone),
            }
        }
        if self.ending == Ending::AfterAnswer {
            return Err(Gone);
        }
        self.output = Vec::new();
        self.sent = 0;
        self.last_seen = Instant::now();
        self.deadline = (!self.input.is_empty()).then(|| Instant::now() + TIME_LIMIT);
        Ok(())
    }
}

/// Where `needle` ends in `text`.
fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len())
        .position(|window| window == needle)
        .map(|start| start + needle.len())
}
