// SPDX-License-Identifier: MIT OR Apache-2.0
//! The greeting: which number the VMM is about to ask for, and which memory the handler wants
//! to see of each call.

use super::frame::{encode_frame, FrameKind};
use super::{u32_at, BadRange, ProtocolError, FIXED_LENGTH, RANGES_MAX, RANGE_BYTES_MAX, VERSION};
use hcall_abi::convention::{Arguments, ARGUMENT_COUNT};
use hcall_abi::{Errno, HypercallNumber};
use std::mem::offset_of;

/// What the VMM says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Hello {
    /// The version that the VMM speaks. This field stands here in every version.
    pub version: u32,
    /// The number whose calls will come.
    pub number: u32,
    /// Most ranges that the handler may ask for.
    pub ranges_max: u32,
    /// Most bytes of each.
    pub range_bytes_max: u32,
}

const _: () = {
    assert!(size_of::<Hello>() == 16);
    assert!(offset_of!(Hello, version) == 0);
    assert!(offset_of!(Hello, number) == 4);
    assert!(offset_of!(Hello, ranges_max) == 8);
    assert!(offset_of!(Hello, range_bytes_max) == 12);
};

impl Hello {
    /// That of this version, for the calls of `number`.
    pub const fn new(number: HypercallNumber) -> Self {
        Self {
            version: VERSION,
            number: number.get(),
            ranges_max: RANGES_MAX as u32,
            range_bytes_max: RANGE_BYTES_MAX,
        }
    }

    /// The whole frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(size_of::<Self>());
        for word in [
            self.version,
            self.number,
            self.ranges_max,
            self.range_bytes_max,
        ] {
            body.extend_from_slice(&word.to_le_bytes());
        }
        encode_frame(FrameKind::Hello, 0, &[&body])
    }

    /// What a frame's body says.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`] if it is of another version, or not as long as it must be.
    pub fn decode(body: &[u8]) -> Result<Self, ProtocolError> {
        check_version(body)?;
        if body.len() != size_of::<Self>() {
            return Err(ProtocolError::WrongLength { length: body.len() });
        }
        Ok(Self {
            version: u32_at(body, offset_of!(Self, version)),
            number: u32_at(body, offset_of!(Self, number)),
            ranges_max: u32_at(body, offset_of!(Self, ranges_max)),
            range_bytes_max: u32_at(body, offset_of!(Self, range_bytes_max)),
        })
    }
}

/// The version stands first in either greeting, whatever else a later version has there.
fn check_version(body: &[u8]) -> Result<(), ProtocolError> {
    if body.len() < size_of::<u32>() {
        return Err(ProtocolError::WrongLength { length: body.len() });
    }
    match u32_at(body, 0) {
        VERSION => Ok(()),
        other => Err(ProtocolError::Version(other)),
    }
}

/// What the handler's greeting begins with; `ranges` times [`RangeBytes`] follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct WelcomeHead {
    /// The version that the handler speaks. This field stands here in every version.
    pub version: u32,
    /// How many ranges follow, at most [`RANGES_MAX`].
    pub ranges: u32,
}

/// A memory range as it stands in the handler's greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RangeBytes {
    /// Which argument is its GPA, 0 to 3.
    pub address: u8,
    /// Which is its length, 0 to 3; or [`FIXED_LENGTH`].
    pub length: u8,
    /// A [`Direction`].
    pub direction: u8,
    /// Zero.
    pub reserved: u8,
    /// Its most bytes; its bytes, where the length is fixed.
    pub bytes: u32,
}

const _: () = {
    assert!(size_of::<WelcomeHead>() == 8);
    assert!(offset_of!(WelcomeHead, version) == 0);
    assert!(offset_of!(WelcomeHead, ranges) == 4);
    assert!(size_of::<RangeBytes>() == 8);
    assert!(offset_of!(RangeBytes, address) == 0);
    assert!(offset_of!(RangeBytes, length) == 1);
    assert!(offset_of!(RangeBytes, direction) == 2);
    assert!(offset_of!(RangeBytes, reserved) == 3);
    assert!(offset_of!(RangeBytes, bytes) == 4);
};

/// Which way the bytes of a range go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Direction {
    /// From the guest to the handler.
    In = 1,
    /// From the handler to the guest.
    Out = 2,
    /// First the one, then the other.
    InOut = 3,
}

impl Direction {
    /// Whether the handler sees the bytes.
    pub const fn is_in(self) -> bool {
        matches!(self, Self::In | Self::InOut)
    }

    /// Whether the handler writes them.
    pub const fn is_out(self) -> bool {
        matches!(self, Self::Out | Self::InOut)
    }
}

/// How long a range is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Length {
    /// As an argument of the call says.
    Argument {
        /// Which, 0 to 3.
        index: u8,
        /// The most bytes; a call with more answers −EMSGSIZE and does not reach the handler.
        most: u32,
    },
    /// So many bytes.
    Fixed(u32),
}

impl Length {
    /// The most bytes.
    pub const fn most(self) -> u32 {
        match self {
            Self::Argument { most, .. } => most,
            Self::Fixed(bytes) => bytes,
        }
    }
}

/// A range of guest memory that a handler wants of each call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// Which argument is its GPA, 0 to 3.
    pub address: u8,
    /// How long it is.
    pub length: Length,
    /// Which way its bytes go.
    pub direction: Direction,
}

impl Range {
    /// What it is in a call with these arguments.
    fn length_in(&self, arguments: &Arguments) -> Result<u32, Errno> {
        match self.length {
            Length::Fixed(bytes) => Ok(bytes),
            Length::Argument { index, most } => u32::try_from(arguments[usize::from(index)])
                .ok()
                .filter(|length| *length <= most)
                .ok_or(Errno::EMSGSIZE),
        }
    }

    fn check(&self) -> Result<(), BadRange> {
        let is_argument = |index: u8| usize::from(index) < ARGUMENT_COUNT;
        let length_is_known = match self.length {
            Length::Argument { index, .. } => is_argument(index),
            Length::Fixed(_) => true,
        };
        if !is_argument(self.address) || !length_is_known {
            return Err(BadRange::Argument);
        }
        if !(1..=RANGE_BYTES_MAX).contains(&self.length.most()) {
            return Err(BadRange::Bytes);
        }
        Ok(())
    }

    fn to_bytes(self) -> [u8; size_of::<RangeBytes>()] {
        let length = match self.length {
            Length::Argument { index, .. } => index,
            Length::Fixed(_) => FIXED_LENGTH,
        };
        let [a, b, c, d] = self.length.most().to_le_bytes();
        [self.address, length, self.direction as u8, 0, a, b, c, d]
    }

    fn from_bytes(
        bytes: &[u8; size_of::<RangeBytes>()],
        index: usize,
    ) -> Result<Self, ProtocolError> {
        let bad = |reason| ProtocolError::BadRange { index, reason };
        if bytes[offset_of!(RangeBytes, reserved)] != 0 {
            return Err(ProtocolError::Reserved);
        }
        let direction = match bytes[offset_of!(RangeBytes, direction)] {
            1 => Direction::In,
            2 => Direction::Out,
            3 => Direction::InOut,
            _ => return Err(bad(BadRange::Direction)),
        };
        let most = u32_at(bytes, offset_of!(RangeBytes, bytes));
        let length = match bytes[offset_of!(RangeBytes, length)] {
            FIXED_LENGTH => Length::Fixed(most),
            index => Length::Argument { index, most },
        };
        let range = Self {
            address: bytes[offset_of!(RangeBytes, address)],
            length,
            direction,
        };
        range.check().map_err(bad)?;
        Ok(range)
    }
}

/// The ranges that a handler wants: at most [`RANGES_MAX`], each of them one that can be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    ranges: [Option<Range>; RANGES_MAX],
}

impl Ranges {
    /// No memory at all.
    pub const NONE: Self = Self {
        ranges: [None; RANGES_MAX],
    };

    /// These.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::TooManyRanges`] and [`ProtocolError::BadRange`].
    pub fn new(given: &[Range]) -> Result<Self, ProtocolError> {
        if given.len() > RANGES_MAX {
            let count = u32::try_from(given.len()).unwrap_or(u32::MAX);
            return Err(ProtocolError::TooManyRanges(count));
        }
        let mut ranges = [None; RANGES_MAX];
        for (index, (place, range)) in ranges.iter_mut().zip(given).enumerate() {
            range
                .check()
                .map_err(|reason| ProtocolError::BadRange { index, reason })?;
            *place = Some(*range);
        }
        Ok(Self { ranges })
    }

    /// Each of them with its index.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Range)> + '_ {
        let ranges = self.ranges.iter().enumerate();
        ranges.filter_map(|(index, range)| range.map(|range| (index, range)))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.iter().count()
    }

    /// How long each is in a call with these arguments; 0 for those that there are not.
    ///
    /// # Errors
    ///
    /// EMSGSIZE if one is longer than the handler takes.
    pub fn lengths(&self, arguments: &Arguments) -> Result<[u32; RANGES_MAX], Errno> {
        let mut lengths = [0; RANGES_MAX];
        for (index, range) in self.iter() {
            lengths[index] = range.length_in(arguments)?;
        }
        Ok(lengths)
    }

    /// Of these lengths, those that go to the handler.
    pub fn inputs(&self, lengths: &[u32; RANGES_MAX]) -> [u32; RANGES_MAX] {
        self.masked(lengths, Direction::is_in)
    }

    /// Of these lengths, those that the handler may answer with.
    pub fn outputs(&self, lengths: &[u32; RANGES_MAX]) -> [u32; RANGES_MAX] {
        self.masked(lengths, Direction::is_out)
    }

    /// Most bytes that the handler can have to say of them in one answer.
    pub fn output_bytes_max(&self) -> usize {
        let outputs = self.iter().filter(|(_, range)| range.direction.is_out());
        outputs.map(|(_, range)| range.length.most() as usize).sum()
    }

    fn masked(
        &self,
        lengths: &[u32; RANGES_MAX],
        wanted: fn(Direction) -> bool,
    ) -> [u32; RANGES_MAX] {
        let mut masked = [0; RANGES_MAX];
        let chosen = self.iter().filter(|(_, range)| wanted(range.direction));
        chosen.for_each(|(index, _)| masked[index] = lengths[index]);
        masked
    }
}

/// What the handler answers to [`Hello`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The memory that it wants of each call.
    pub ranges: Ranges,
}

impl Welcome {
    /// Most bytes of a frame's body.
    pub const BODY_BYTES_MAX: usize =
        size_of::<WelcomeHead>() + RANGES_MAX * size_of::<RangeBytes>();

    /// The whole frame.
    pub fn encode(&self) -> Vec<u8> {
        let count = self.ranges.count() as u32;
        let ranges: Vec<u8> = self
            .ranges
            .iter()
            .flat_map(|(_, range)| range.to_bytes())
            .collect();
        let parts = [&VERSION.to_le_bytes()[..], &count.to_le_bytes(), &ranges];
        encode_frame(FrameKind::Welcome, 0, &parts)
    }

    /// What a frame's body says.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`] if it is of another version, or wants what cannot be had.
    pub fn decode(body: &[u8]) -> Result<Self, ProtocolError> {
        check_version(body)?;
        let wrong_length = ProtocolError::WrongLength { length: body.len() };
        let Some((head, ranges)) = body.split_at_checked(size_of::<WelcomeHead>()) else {
            return Err(wrong_length);
        };
        let count = u32_at(head, offset_of!(WelcomeHead, ranges));
        if count as usize > RANGES_MAX {
            return Err(ProtocolError::TooManyRanges(count));
        }
        if ranges.len() != count as usize * size_of::<RangeBytes>() {
            return Err(wrong_length);
        }
        let mut welcome = Self {
            ranges: Ranges::NONE,
        };
        let given = ranges.chunks_exact(size_of::<RangeBytes>());
        for (index, (bytes, place)) in given.zip(&mut welcome.ranges.ranges).enumerate() {
            let bytes = bytes.first_chunk().ok_or(wrong_length)?;
            *place = Some(Range::from_bytes(bytes, index)?);
        }
        Ok(welcome)
    }
}
