// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! `BATCH`: many calls for one exit, as an array of entries in guest memory.

use super::convention::{Arguments, ARGUMENT_COUNT};
use super::number::{HypercallNumber, BATCH, RING_SETUP};
use core::mem::{offset_of, size_of};

/// What the address of the first entry must be a multiple of.
pub const ENTRY_ALIGNMENT: u64 = 8;

/// Bit of `BATCH`'s flags: the batch ends after the first entry whose result is negative.
pub const STOP_ON_ERROR: u64 = 1 << 0;

/// One call of a batch.
///
/// # Examples
///
/// ```
/// use hcall_abi::batch::BatchEntry;
/// use hcall_abi::number::ECHO;
///
/// let entry = BatchEntry::new(ECHO, [42, 0, 0, 0]);
/// assert_eq!(BatchEntry::from_bytes(&entry.to_bytes()), entry);
/// assert!(entry.is_well_formed());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct BatchEntry {
    /// In: the hypercall number.
    pub number: u32,
    /// In: zero.
    pub flags: u32,
    /// In: the arguments; unused ones zero.
    pub arguments: [u64; ARGUMENT_COUNT],
    /// Out: the host's answer, to be decoded by [`decode_result`](super::result::decode_result).
    pub result: i64,
    /// In: zero.
    pub reserved: [u64; 2],
}

impl BatchEntry {
    /// An entry that calls `number`.
    pub const fn new(number: HypercallNumber, arguments: Arguments) -> Self {
        Self {
            number: number.get(),
            flags: 0,
            arguments,
            result: 0,
            reserved: [0; 2],
        }
    }

    /// Whether everything that must be zero is; what is not answers −EINVAL.
    pub const fn is_well_formed(&self) -> bool {
        self.flags == 0 && self.reserved[0] == 0 && self.reserved[1] == 0
    }

    /// The entry whose bytes stand in guest memory.
    pub const fn from_bytes(bytes: &[u8; size_of::<Self>()]) -> Self {
        const ARGUMENTS: usize = offset_of!(BatchEntry, arguments);
        const RESERVED: usize = offset_of!(BatchEntry, reserved);
        const WORD: usize = size_of::<u64>();
        let (number, flags) = (
            quad(bytes, offset_of!(Self, number)) as u32,
            (quad(bytes, offset_of!(Self, number)) >> u32::BITS) as u32,
        );
        Self {
            number,
            flags,
            arguments: [
                quad(bytes, ARGUMENTS),
                quad(bytes, ARGUMENTS + WORD),
                quad(bytes, ARGUMENTS + 2 * WORD),
                quad(bytes, ARGUMENTS + 3 * WORD),
            ],
            result: quad(bytes, offset_of!(Self, result)) as i64,
            reserved: [quad(bytes, RESERVED), quad(bytes, RESERVED + WORD)],
        }
    }

    /// The bytes as they stand in guest memory.
    pub fn to_bytes(&self) -> [u8; size_of::<Self>()] {
        let mut bytes = [0; size_of::<Self>()];
        let words = [u64::from(self.number) | (u64::from(self.flags) << u32::BITS)]
            .into_iter()
            .chain(self.arguments)
            .chain([self.result as u64])
            .chain(self.reserved);
        for (place, word) in bytes.chunks_exact_mut(size_of::<u64>()).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

/// The eight bytes from `offset` on.
const fn quad(bytes: &[u8; size_of::<BatchEntry>()], offset: usize) -> u64 {
    u64::from_le_bytes([
        bytes[offset],
        bytes[offset + 1],
        bytes[offset + 2],
        bytes[offset + 3],
        bytes[offset + 4],
        bytes[offset + 5],
        bytes[offset + 6],
        bytes[offset + 7],
    ])
}

impl HypercallNumber {
    /// Whether the call may stand in a batch; one that may not answers −EINVAL there.
    pub const fn may_be_batched(self) -> bool {
        !matches!(self, BATCH | RING_SETUP)
    }
}

const _: () = {
    assert!(size_of::<BatchEntry>() == 64);
    assert!(offset_of!(BatchEntry, number) == 0);
    assert!(offset_of!(BatchEntry, flags) == 4);
    assert!(offset_of!(BatchEntry, arguments) == 8);
    assert!(offset_of!(BatchEntry, result) == 40);
    assert!(offset_of!(BatchEntry, reserved) == 48);
};
