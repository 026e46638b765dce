// SPDX-License-Identifier: MIT OR Apache-2.0
//! The handler protocol, version 1: what is said on the socket between a VMM and a handler
//! that is a process of its own. Bytes in, values out, and back; nothing is read or written
//! here.
//!
//! `docs/handler-protocol.md` specifies it for implementers; a test compares the two, and both
//! with the vectors in `vmm-host/vectors/handler-protocol.json`.
//!
//! Either end takes the other for hostile: [`split`], [`Welcome::decode`], [`Request::decode`]
//! and [`Answer::decode`] take any bytes, and allocate nothing for what they refuse.

mod call;
mod frame;
mod greeting;

pub(crate) use call::{begin_request, level_field};
pub use call::{Answer, AnswerHead, Request, RequestHead, REQUEST_HEAD_BYTES};
pub(crate) use frame::set_id;
pub use frame::{encode_frame, split, Frame, FrameHead, FrameKind, Header, HEADER_BYTES};
pub use greeting::{Direction, Hello, Length, Range, RangeBytes, Ranges, Welcome, WelcomeHead};

use std::fmt;

/// The version of the protocol that this is.
pub const VERSION: u32 = 1;
/// What every frame begins with.
pub const MAGIC: [u8; 4] = *b"hcHP";
/// Most memory ranges of a call.
pub const RANGES_MAX: usize = 4;
/// Most bytes of one range.
pub const RANGE_BYTES_MAX: u32 = 64 * 1024;
/// In the place of the argument that has a range's length: the length is fixed.
pub const FIXED_LENGTH: u8 = 0xff;
/// In the place of a vCPU, or of a privilege level: there is none, or it is not known.
pub const UNKNOWN: u32 = u32::MAX;

/// Most bytes after the header of any frame.
pub const BODY_BYTES_MAX: usize = size_of::<RequestHead>() + RANGES_MAX * RANGE_BYTES_MAX as usize;

/// What is wrong with bytes that the other end has sent. There is no going on after it: where
/// the next frame begins is not known, or the other end is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A frame does not begin with [`MAGIC`].
    #[error("these bytes are not the hcall handler protocol")]
    NotTheProtocol,
    /// The frame's type is not one of version 1.
    #[error("frames of type {0} do not exist")]
    UnknownType(u32),
    /// The frame's type is one that does not come here.
    #[error("a frame of type {0} has no place here")]
    Misplaced(FrameKind),
    /// The frame's id is not zero, and it belongs to no call.
    #[error("the greeting has an id, {0}")]
    GreetingWithId(u64),
    /// The frame is longer than anything that could be meant.
    #[error("a frame of {length} bytes, where at most {most} can be meant")]
    TooLong {
        /// Bytes after the header.
        length: u32,
        /// The most that there may be.
        most: usize,
    },
    /// The frame is not as long as what it holds.
    #[error("a frame's {length} bytes are not what it says it holds")]
    WrongLength {
        /// Bytes after the header.
        length: usize,
    },
    /// What must be zero is not.
    #[error("a reserved field is not zero")]
    Reserved,
    /// The other end speaks another version.
    #[error("it speaks version {0} of the handler protocol, and this is version {VERSION}")]
    Version(u32),
    /// More than [`RANGES_MAX`] ranges.
    #[error("{0} memory ranges, where at most {RANGES_MAX} can be had")]
    TooManyRanges(u32),
    /// A range that cannot be had.
    #[error("memory range {index}: {reason}")]
    BadRange {
        /// Which, from 0.
        index: usize,
        /// Why not.
        reason: BadRange,
    },
    /// A privilege level above 3.
    #[error("{0} is no privilege level")]
    BadLevel(u32),
    /// Neither a payload nor an errno.
    #[error("{0:#x} is no result of a hypercall")]
    BadResult(i64),
    /// A range has more bytes than were asked for.
    #[error("memory range {index}: {length} bytes, where at most {most} were asked for")]
    NotAsked {
        /// Which, from 0.
        index: usize,
        /// Its bytes.
        length: u32,
        /// The most that there may be.
        most: u32,
    },
}

/// Why a memory range cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BadRange {
    /// A call has four arguments.
    Argument,
    /// Neither in, nor out, nor both.
    Direction,
    /// No bytes, or more than [`RANGE_BYTES_MAX`].
    Bytes,
}

impl fmt::Display for BadRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument => formatter.write_str("a call has only arguments 0 to 3"),
            Self::Direction => formatter.write_str("it is neither in, nor out, nor both"),
            Self::Bytes => write!(formatter, "its bytes are not 1 to {RANGE_BYTES_MAX}"),
        }
    }
}

/// The `SIZE` bytes of `bytes` from `offset` on. Offsets are those of fields in a structure
/// whose bytes these are.
#[inline]
fn field<const SIZE: usize>(bytes: &[u8], offset: usize) -> [u8; SIZE] {
    let mut field = [0; SIZE];
    field.copy_from_slice(&bytes[offset..offset + SIZE]);
    field
}

#[inline]
fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(field(bytes, offset))
}

#[inline]
fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(field(bytes, offset))
}

/// Four lengths, one for each range that there could be.
#[inline]
fn lengths_at(bytes: &[u8], offset: usize) -> [u32; RANGES_MAX] {
    std::array::from_fn(|index| u32_at(bytes, offset + index * size_of::<u32>()))
}
