// SPDX-License-Identifier: MIT OR Apache-2.0
//! A call as the handler is asked for it, and its answer.

use super::frame::{begin_frame, encode_frame, FrameKind, HEADER_BYTES};
use super::{lengths_at, u32_at, u64_at, ProtocolError, Ranges, RANGES_MAX, UNKNOWN};
use crate::hypercall::{Cpl, HypercallResult};
use hcall_abi::convention::{Arguments, ARGUMENT_COUNT};
use hcall_abi::{decode_result, encode_result, CallError};
use std::mem::offset_of;

/// What a request begins with; the bytes of each range that goes to the handler follow, one
/// after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RequestHead {
    /// The number that was called.
    pub number: u32,
    /// The vCPU that calls; [`UNKNOWN`] through a ring.
    pub vcpu: u32,
    /// The caller's privilege level, 0 to 3; [`UNKNOWN`] where the exit did not tell it.
    pub cpl: u32,
    /// Zero.
    pub reserved: u32,
    /// The arguments.
    pub arguments: Arguments,
    /// The bytes of each range, whichever way they go; 0 for those that there are not.
    pub lengths: [u32; RANGES_MAX],
}

/// Bytes of a [`RequestHead`].
pub const REQUEST_HEAD_BYTES: usize = size_of::<RequestHead>();

/// What an answer begins with; the bytes for each range follow, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct AnswerHead {
    /// A payload, or −errno.
    pub result: i64,
    /// The bytes for each range: at most as many as were asked for, and none for one that goes
    /// to the handler only. Memory behind them stays as it is.
    pub lengths: [u32; RANGES_MAX],
}

const _: () = {
    assert!(REQUEST_HEAD_BYTES == 64);
    assert!(offset_of!(RequestHead, number) == 0);
    assert!(offset_of!(RequestHead, vcpu) == 4);
    assert!(offset_of!(RequestHead, cpl) == 8);
    assert!(offset_of!(RequestHead, reserved) == 12);
    assert!(offset_of!(RequestHead, arguments) == 16);
    assert!(offset_of!(RequestHead, lengths) == 48);
    assert!(size_of::<AnswerHead>() == 24);
    assert!(offset_of!(AnswerHead, result) == 0);
    assert!(offset_of!(AnswerHead, lengths) == 8);
};

impl RequestHead {
    fn to_bytes(self) -> [u8; REQUEST_HEAD_BYTES] {
        let mut bytes = [0; REQUEST_HEAD_BYTES];
        let mut put = |offset: usize, field: &[u8]| {
            bytes[offset..offset + field.len()].copy_from_slice(field);
        };
        put(offset_of!(Self, number), &self.number.to_le_bytes());
        put(offset_of!(Self, vcpu), &self.vcpu.to_le_bytes());
        put(offset_of!(Self, cpl), &self.cpl.to_le_bytes());
        put(offset_of!(Self, reserved), &self.reserved.to_le_bytes());
        for (index, argument) in self.arguments.iter().enumerate() {
            let offset = offset_of!(Self, arguments) + index * size_of::<u64>();
            put(offset, &argument.to_le_bytes());
        }
        for (index, length) in self.lengths.iter().enumerate() {
            let offset = offset_of!(Self, lengths) + index * size_of::<u32>();
            put(offset, &length.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; REQUEST_HEAD_BYTES]) -> Self {
        let argument = |index| offset_of!(Self, arguments) + index * size_of::<u64>();
        Self {
            number: u32_at(bytes, offset_of!(Self, number)),
            vcpu: u32_at(bytes, offset_of!(Self, vcpu)),
            cpl: u32_at(bytes, offset_of!(Self, cpl)),
            reserved: u32_at(bytes, offset_of!(Self, reserved)),
            arguments: std::array::from_fn::<_, ARGUMENT_COUNT, _>(|index| {
                u64_at(bytes, argument(index))
            }),
            lengths: lengths_at(bytes, offset_of!(Self, lengths)),
        }
    }
}

/// The frame of a request that has no id yet, with room for `input_bytes`, all zero, and where
/// that room begins: guest memory is copied straight into it.
pub(crate) fn begin_request(head: &RequestHead, input_bytes: usize) -> (Vec<u8>, usize) {
    let mut frame = begin_frame(FrameKind::Request, 0, REQUEST_HEAD_BYTES + input_bytes);
    frame.extend_from_slice(&head.to_bytes());
    let inputs = HEADER_BYTES + REQUEST_HEAD_BYTES;
    frame.resize(inputs + input_bytes, 0);
    (frame, inputs)
}

/// A call, as the handler sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'bytes> {
    /// The number that was called.
    pub number: u32,
    /// The vCPU that calls; none through a ring.
    pub vcpu: Option<u32>,
    /// The caller's privilege level, where it is known.
    pub cpl: Option<Cpl>,
    /// The arguments.
    pub arguments: Arguments,
    /// The bytes of each range, whichever way they go.
    pub lengths: [u32; RANGES_MAX],
    /// What stood in the ranges that go to the handler; empty for the others.
    pub inputs: [&'bytes [u8]; RANGES_MAX],
}

impl<'bytes> Request<'bytes> {
    /// The whole frame.
    pub fn encode(&self, id: u64) -> Vec<u8> {
        let head = RequestHead {
            number: self.number,
            vcpu: self.vcpu.unwrap_or(UNKNOWN),
            cpl: level_field(self.cpl),
            reserved: 0,
            arguments: self.arguments,
            lengths: self.lengths,
        };
        let [a, b, c, d] = self.inputs;
        encode_frame(FrameKind::Request, id, &[&head.to_bytes(), a, b, c, d])
    }

    /// What a frame's body says to a handler that asked for `ranges`.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`] if it says something else than these ranges' bytes.
    pub fn decode(body: &'bytes [u8], ranges: &Ranges) -> Result<Self, ProtocolError> {
        let Some((head, rest)) = body.split_first_chunk::<REQUEST_HEAD_BYTES>() else {
            return Err(ProtocolError::WrongLength { length: body.len() });
        };
        let head = RequestHead::from_bytes(head);
        if head.reserved != 0 {
            return Err(ProtocolError::Reserved);
        }
        let cpl = match head.cpl {
            UNKNOWN => None,
            level @ 0..=3 => Some(Cpl::from_low_bits(level)),
            other => return Err(ProtocolError::BadLevel(other)),
        };
        let mut most = [0; RANGES_MAX];
        for (index, range) in ranges.iter() {
            most[index] = range.length.most();
        }
        check_lengths(&head.lengths, &most)?;
        Ok(Self {
            number: head.number,
            vcpu: (head.vcpu != UNKNOWN).then_some(head.vcpu),
            cpl,
            arguments: head.arguments,
            lengths: head.lengths,
            inputs: cut(rest, &ranges.inputs(&head.lengths))
                .ok_or(ProtocolError::WrongLength { length: body.len() })?,
        })
    }
}

/// A privilege level as it stands in a request.
pub(crate) fn level_field(cpl: Option<Cpl>) -> u32 {
    cpl.map_or(UNKNOWN, |cpl| cpl.get().into())
}

/// What a handler answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'bytes> {
    /// What the guest is told.
    pub result: HypercallResult,
    /// What is written to each range, from its beginning.
    pub outputs: [&'bytes [u8]; RANGES_MAX],
}

impl<'bytes> Answer<'bytes> {
    /// Most bytes of the body of a frame that answers a call with these ranges.
    pub fn body_bytes_max(ranges: &Ranges) -> usize {
        size_of::<AnswerHead>() + ranges.output_bytes_max()
    }

    /// The whole frame.
    pub fn encode(&self, id: u64) -> Vec<u8> {
        let lengths: Vec<u8> = self
            .outputs
            .iter()
            .flat_map(|output| (output.len() as u32).to_le_bytes())
            .collect();
        let result = encode_result(self.result).to_le_bytes();
        let [a, b, c, d] = self.outputs;
        encode_frame(FrameKind::Answer, id, &[&result, &lengths, a, b, c, d])
    }

    /// What a frame's body says to a VMM that asked for at most `most` bytes for each range.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`] if it is no result, or has other bytes than were asked for.
    pub fn decode(body: &'bytes [u8], most: &[u32; RANGES_MAX]) -> Result<Self, ProtocolError> {
        let wrong_length = ProtocolError::WrongLength { length: body.len() };
        let Some((head, rest)) = body.split_at_checked(size_of::<AnswerHead>()) else {
            return Err(wrong_length);
        };
        let raw = u64_at(head, offset_of!(AnswerHead, result)) as i64;
        let result = match decode_result(raw) {
            Ok(payload) => Ok(payload),
            Err(CallError::Errno(errno)) => Err(errno),
            Err(_) => return Err(ProtocolError::BadResult(raw)),
        };
        let lengths = lengths_at(head, offset_of!(AnswerHead, lengths));
        check_lengths(&lengths, most)?;
        let outputs = cut(rest, &lengths).ok_or(wrong_length)?;
        Ok(Self { result, outputs })
    }
}

fn check_lengths(
    lengths: &[u32; RANGES_MAX],
    most: &[u32; RANGES_MAX],
) -> Result<(), ProtocolError> {
    for (index, (length, most)) in lengths.iter().zip(most).enumerate() {
        if length > most {
            return Err(ProtocolError::NotAsked {
                index,
                length: *length,
                most: *most,
            });
        }
    }
    Ok(())
}

/// Pieces of these lengths that are all of `bytes`.
fn cut<'bytes>(
    mut bytes: &'bytes [u8],
    lengths: &[u32; RANGES_MAX],
) -> Option<[&'bytes [u8]; RANGES_MAX]> {
    let mut pieces = [&bytes[..0]; RANGES_MAX];
    for (piece, length) in pieces.iter_mut().zip(lengths) {
        (*piece, bytes) = bytes.split_at_checked(*length as usize)?;
    }
    bytes.is_empty().then_some(pieces)
}
