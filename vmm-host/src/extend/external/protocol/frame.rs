// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames: a header that says what follows and how long it is.

use super::{u32_at, u64_at, ProtocolError, MAGIC};
use std::fmt;
use std::mem::offset_of;

/// What every frame begins with. All fields are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 4],
    /// A [`FrameKind`].
    pub kind: u32,
    /// Which call it is about; 0 in the greeting.
    pub id: u64,
    /// Bytes that follow.
    pub length: u32,
    /// Zero.
    pub reserved: u32,
}

/// Bytes of a [`Header`].
pub const HEADER_BYTES: usize = size_of::<Header>();

const _: () = {
    assert!(HEADER_BYTES == 24);
    assert!(offset_of!(Header, magic) == 0);
    assert!(offset_of!(Header, kind) == 4);
    assert!(offset_of!(Header, id) == 8);
    assert!(offset_of!(Header, length) == 16);
    assert!(offset_of!(Header, reserved) == 20);
};

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum FrameKind {
    /// The VMM's first.
    Hello = 1,
    /// The handler's answer to it.
    Welcome = 2,
    /// A call, from the VMM.
    Request = 3,
    /// Its answer, from the handler.
    Answer = 4,
}

impl FrameKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Hello, Self::Welcome, Self::Request, Self::Answer];

    fn from_raw(raw: u32) -> Result<Self, ProtocolError> {
        Self::ALL
            .into_iter()
            .find(|kind| *kind as u32 == raw)
            .ok_or(ProtocolError::UnknownType(raw))
    }
}

impl fmt::Display for FrameKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Hello => "HELLO",
            Self::Welcome => "WELCOME",
            Self::Request => "REQUEST",
            Self::Answer => "ANSWER",
        })
    }
}

/// A whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'bytes> {
    /// What it is.
    pub kind: FrameKind,
    /// Which call it is about.
    pub id: u64,
    /// What follows the header.
    pub body: &'bytes [u8],
}

impl Frame<'_> {
    /// Bytes of the whole.
    pub fn size(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }

    /// Fails if it is of another kind, or a greeting with an id.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::Misplaced`], [`ProtocolError::GreetingWithId`].
    pub fn expect(&self, kind: FrameKind) -> Result<(), ProtocolError> {
        if self.kind != kind {
            return Err(ProtocolError::Misplaced(self.kind));
        }
        if matches!(kind, FrameKind::Hello | FrameKind::Welcome) && self.id != 0 {
            return Err(ProtocolError::GreetingWithId(self.id));
        }
        Ok(())
    }
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// What the frame is.
    pub kind: FrameKind,
    /// Which call it is about.
    pub id: u64,
    /// Bytes that follow the header.
    pub length: usize,
}

impl FrameHead {
    /// What these bytes say, if at most `most` bytes follow them.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`] if they are not a header, or more follow.
    pub fn decode(header: &[u8; HEADER_BYTES], most: usize) -> Result<Self, ProtocolError> {
        if !header.starts_with(&MAGIC) {
            return Err(ProtocolError::NotTheProtocol);
        }
        if u32_at(header, offset_of!(Header, reserved)) != 0 {
            return Err(ProtocolError::Reserved);
        }
        let kind = FrameKind::from_raw(u32_at(header, offset_of!(Header, kind)))?;
        let length = u32_at(header, offset_of!(Header, length));
        if length as usize > most {
            return Err(ProtocolError::TooLong { length, most });
        }
        Ok(Self {
            kind,
            id: u64_at(header, offset_of!(Header, id)),
            length: length as usize,
        })
    }
}

/// The frame that `bytes` begin with; none while there are not all of its bytes. One with more
/// than `most` bytes after its header is refused as soon as it says so.
///
/// # Errors
///
/// [`ProtocolError`] if it is not a frame.
pub fn split(bytes: &[u8], most: usize) -> Result<Option<Frame<'_>>, ProtocolError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let head = FrameHead::decode(header, most)?;
    Ok(rest.get(..head.length).map(|body| Frame {
        kind: head.kind,
        id: head.id,
        body,
    }))
}

/// Puts an id into a frame that has been encoded.
pub(crate) fn set_id(frame: &mut [u8], id: u64) {
    let offset = offset_of!(Header, id);
    frame[offset..offset + size_of::<u64>()].copy_from_slice(&id.to_le_bytes());
}

/// A frame of these parts, one after the other.
///
/// # Panics
///
/// If there are 4 GiB of them, which no frame of version 1 can hold.
pub fn encode_frame(kind: FrameKind, id: u64, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = begin_frame(kind, id, length);
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

/// The header of a frame that `length` bytes follow, with room for them.
pub(super) fn begin_frame(kind: FrameKind, id: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + length);
    let length = u32::try_from(length).expect("a frame is shorter than 4 GiB");
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&(kind as u32).to_le_bytes());
    bytes.extend_from_slice(&id.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&0_u32.to_le_bytes());
    bytes
}
