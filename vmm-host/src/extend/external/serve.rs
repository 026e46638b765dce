// SPDX-License-Identifier: MIT OR Apache-2.0
//! The other end of a connection, for handlers in Rust: one call after the other.

use super::protocol::{
    Answer, Frame, FrameHead, FrameKind, Hello, ProtocolError, Ranges, Request, Welcome,
    BODY_BYTES_MAX, HEADER_BYTES, RANGES_MAX,
};
use crate::hypercall::HypercallResult;
use std::io::{Read, Write};

/// What a handler says to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What the guest is told.
    pub result: HypercallResult,
    /// What is written to each range, from its beginning.
    pub outputs: [Vec<u8>; RANGES_MAX],
}

impl From<HypercallResult> for Said {
    fn from(result: HypercallResult) -> Self {
        Self {
            result,
            outputs: Default::default(),
        }
    }
}

impl Said {
    /// With these bytes for a range.
    #[must_use]
    pub fn with_output(mut self, index: usize, bytes: Vec<u8>) -> Self {
        self.outputs[index] = bytes;
        self
    }
}

/// Why a handler's end of a connection ended, other than by the VMM's closing it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The VMM does not speak the protocol.
    #[error("the VMM does not speak the handler protocol as it should")]
    Protocol(#[from] ProtocolError),
    /// The connection.
    #[error("the connection to the VMM has failed")]
    Connection(#[from] std::io::Error),
}

/// Greets the VMM at the other end of `stream`, and answers each call with what `answer` says,
/// until the VMM closes the connection.
///
/// # Errors
///
/// [`ServeError`]
pub fn serve(
    mut stream: impl Read + Write,
    ranges: Ranges,
    mut answer: impl FnMut(&Request<'_>) -> Said,
) -> Result<(), ServeError> {
    let mut bytes = Vec::new();
    let Some(hello) = receive(&mut stream, &mut bytes)? else {
        return Ok(());
    };
    hello.expect(FrameKind::Hello)?;
    Hello::decode(hello.body)?;
    stream.write_all(&Welcome { ranges }.encode())?;
    loop {
        let Some(frame) = receive(&mut stream, &mut bytes)? else {
            return Ok(());
        };
        frame.expect(FrameKind::Request)?;
        let said = answer(&Request::decode(frame.body, &ranges)?);
        let answer = Answer {
            result: said.result,
            outputs: said.outputs.each_ref().map(Vec::as_slice),
        };
        stream.write_all(&answer.encode(frame.id))?;
    }
}

/// The next frame, or none at the end of the connection.
fn receive<'bytes>(
    stream: &mut impl Read,
    body: &'bytes mut Vec<u8>,
) -> Result<Option<Frame<'bytes>>, ServeError> {
    let mut header = [0; HEADER_BYTES];
    if stream.read(&mut header[..1])? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut header[1..])?;
    let head = FrameHead::decode(&header, BODY_BYTES_MAX)?;
    body.resize(head.length, 0);
    stream.read_exact(body)?;
    Ok(Some(Frame {
        kind: head.kind,
        id: head.id,
        body,
    }))
}
