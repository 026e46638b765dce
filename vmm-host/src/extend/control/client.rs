// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client of a VM's control socket.

use super::protocol::{parse_answer, Command, Refusal};
use crate::extend::{OpenError, OpenedSource};
use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde_json::Value;
use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an answer may take: a pause takes two seconds at most, a handler's process an hour
/// at worst to greet, which nobody waits for.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// The longest answer that is read.
const ANSWER_BYTES: u64 = 64 << 20;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody is at the other end.
    #[error("no VM listens at {path}; was it started with --control, and does it run still?")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The source of a handler.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The VM has refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The connection broke.
    #[error("the VM does not answer")]
    Broken(#[source] io::Error),
    /// What came is no answer.
    #[error("what came from the VM is no answer of this version of the protocol")]
    NoAnswer,
}

/// Connected to a VM's control socket.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
}

impl Client {
    /// Connects to the control socket `path`.
    ///
    /// # Errors
    ///
    /// [`ClientError::Connect`]
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let connect = |source| ClientError::Connect {
            path: path.into(),
            source,
        };
        let stream = UnixStream::connect(path).map_err(connect)?;
        stream
            .set_read_timeout(Some(ANSWER_LIMIT))
            .and_then(|()| stream.set_write_timeout(Some(ANSWER_LIMIT)))
            .map_err(connect)?;
        Ok(Self { stream })
    }

    /// What the VM answers to `command`; a source that it names is opened here, and passed.
    ///
    /// # Errors
    ///
    /// [`ClientError`]
    pub fn ask(&mut self, command: &Command) -> Result<Value, ClientError> {
        let opened = command.source().map(|source| source.open()).transpose()?;
        let descriptor = match &opened {
            Some(OpenedSource::Socket(stream)) => Some(stream.as_fd()),
            Some(OpenedSource::Plugin { file, .. }) => Some(file.as_fd()),
            _ => None,
        };
        let sent = self.send(command.to_line().as_bytes(), descriptor);
        // A VM that refuses early answers and closes; that is more than that it has closed.
        let answer = match self.receive() {
            Ok(answer) => answer,
            Err(error) => return Err(ClientError::Broken(sent.err().unwrap_or(error))),
        };
        let outcome = parse_answer(&answer).ok_or(ClientError::NoAnswer)?;
        Ok(outcome?)
    }

    fn send(&mut self, mut line: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        while !line.is_empty() {
            let bytes = [IoSlice::new(line)];
            let sent = sendmsg(&self.stream, &bytes, &mut control, SendFlags::NOSIGNAL)?;
            line = &line[sent..];
            // It goes with the first byte.
            control.clear();
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        while answer.last() != Some(&b'\n') {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => answer.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if answer.len() as u64 > ANSWER_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(answer)
    }
}
