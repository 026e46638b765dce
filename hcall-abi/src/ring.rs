// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! Rings: submission and completion queues in memory that guest and host share.
//!
//! Sizes, offsets, constants, and the arithmetic of indices. How the two halves move the
//! indices, and in which order they touch memory, is in
//! `ring_protocol`.
//!
//! Indices run freely through all 32-bit values; an entry's place is the index modulo the
//! number of entries.

use super::convention::{Arguments, ARGUMENT_COUNT};
use super::ioctl::NumberRange;
use super::number::{HypercallNumber, BATCH, EXIT, PANIC, RING_SETUP, RING_TEARDOWN};
use core::mem::{offset_of, size_of};

/// Alignment of the region in guest-physical memory, in bytes.
pub const ALIGNMENT: u64 = 4096;
/// Bytes of the header, before the submission entries.
pub const HEADER_BYTES: u64 = 0x400;

/// Offset of the submission queue's tail: entries submitted. The guest writes it.
pub const SUBMISSION_TAIL: u64 = 0x000;
/// Offset of the submission queue's head: entries taken. The host writes it.
pub const SUBMISSION_HEAD: u64 = 0x080;
/// Offset of the completion queue's tail: completions posted. The host writes it.
pub const COMPLETION_TAIL: u64 = 0x100;
/// Offset of the completion queue's head: completions taken. The guest writes it.
pub const COMPLETION_HEAD: u64 = 0x180;
/// Offset of the index of the entry for which the host wants the doorbell.
pub const SUBMISSION_EVENT: u64 = 0x200;
/// Offset of the index of the completion for which the guest wants an interrupt.
pub const COMPLETION_EVENT: u64 = 0x280;
/// Offset of the state of the ring; the host writes it.
pub const STATUS: u64 = 0x300;
/// Offset of why the ring is broken; the host writes it.
pub const REASON: u64 = 0x304;

/// Status: the host serves the ring.
pub const STATUS_RUNNING: u32 = 1;
/// Status: torn down, or the VM ends; the host serves the ring no more.
pub const STATUS_CLOSED: u32 = 2;
/// Status: the host found the ring damaged, and serves it no more.
pub const STATUS_BROKEN: u32 = 3;

/// Reason: more entries submitted than there is room for.
pub const REASON_SUBMISSION: u32 = 1;
/// Reason: more completions taken than were posted.
pub const REASON_COMPLETION: u32 = 2;
/// Reason: the host itself failed.
pub const REASON_HOST: u32 = 3;

/// Bit of [`RingSetup::flags`]: an unprivileged process writes the ring, so calls that take
/// a guest-physical address are refused.
pub const FLAG_PROCESS: u32 = 1 << 0;
/// Most ranges of numbers in a [`RingSetup`].
pub const RANGES_MAX: usize = 16;

/// [`RingSetup::doorbell_kind`]: a write of 4 bytes to an I/O port.
pub const DOORBELL_PORT: u32 = 1;
/// [`RingSetup::doorbell_kind`]: a write of 4 bytes to a guest-physical address.
pub const DOORBELL_MEMORY: u32 = 2;

/// The vCPU that `GUEST_INFO` names to a call through a ring.
pub const NO_VCPU: u32 = u32::MAX;

/// What the guest wants of a ring, and what the host answers; read and written by
/// `RING_SETUP`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RingSetup {
    /// In: start of the region, aligned to [`ALIGNMENT`].
    pub gpa: u64,
    /// In: its length, at least [`RingLayout::bytes`].
    pub bytes: u64,
    /// In: entries of each queue, a power of two.
    pub entries: u32,
    /// In: [`FLAG_PROCESS`] or 0.
    pub flags: u32,
    /// In: how many of `ranges` count; 0 admits every number.
    pub range_count: u32,
    /// In: global system interrupt for completions, 0 for none.
    pub interrupt: u32,
    /// In: the numbers that entries may have.
    pub ranges: [NumberRange; RANGES_MAX],
    /// Out: [`DOORBELL_PORT`] or [`DOORBELL_MEMORY`].
    pub doorbell_kind: u32,
    /// Out: what to write there, 4 bytes.
    pub doorbell_value: u32,
    /// Out: the port, or the guest-physical address.
    pub doorbell_address: u64,
    /// Zero, checked.
    pub reserved: [u64; 10],
}

impl RingSetup {
    /// Reads the structure as it stands in guest memory.
    pub fn from_bytes(bytes: &[u8; size_of::<Self>()]) -> Self {
        let word = |offset: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&bytes[offset..offset + 4]);
            u32::from_le_bytes(word)
        };
        let long =
            |offset: usize| u64::from(word(offset)) | (u64::from(word(offset + 4)) << u32::BITS);
        let mut ranges = [NumberRange::default(); RANGES_MAX];
        for (index, range) in ranges.iter_mut().enumerate() {
            let offset = offset_of!(Self, ranges) + index * size_of::<NumberRange>();
            range.first = word(offset + offset_of!(NumberRange, first));
            range.last = word(offset + offset_of!(NumberRange, last));
        }
        let mut reserved = [0; 10];
        for (index, element) in reserved.iter_mut().enumerate() {
            *element = long(offset_of!(Self, reserved) + index * size_of::<u64>());
        }
        Self {
            gpa: long(offset_of!(Self, gpa)),
            bytes: long(offset_of!(Self, bytes)),
            entries: word(offset_of!(Self, entries)),
            flags: word(offset_of!(Self, flags)),
            range_count: word(offset_of!(Self, range_count)),
            interrupt: word(offset_of!(Self, interrupt)),
            ranges,
            doorbell_kind: word(offset_of!(Self, doorbell_kind)),
            doorbell_value: word(offset_of!(Self, doorbell_value)),
            doorbell_address: long(offset_of!(Self, doorbell_address)),
            reserved,
        }
    }

    /// The bytes as they stand in guest memory.
    pub fn to_bytes(&self) -> [u8; size_of::<Self>()] {
        let mut bytes = [0; size_of::<Self>()];
        let mut put = |offset: usize, field: &[u8]| {
            bytes[offset..offset + field.len()].copy_from_slice(field);
        };
        put(offset_of!(Self, gpa), &self.gpa.to_le_bytes());
        put(offset_of!(Self, bytes), &self.bytes.to_le_bytes());
        put(offset_of!(Self, entries), &self.entries.to_le_bytes());
        put(offset_of!(Self, flags), &self.flags.to_le_bytes());
        put(
            offset_of!(Self, range_count),
            &self.range_count.to_le_bytes(),
        );
        put(offset_of!(Self, interrupt), &self.interrupt.to_le_bytes());
        for (index, range) in self.ranges.iter().enumerate() {
            let offset = offset_of!(Self, ranges) + index * size_of::<NumberRange>();
            put(
                offset + offset_of!(NumberRange, first),
                &range.first.to_le_bytes(),
            );
            put(
                offset + offset_of!(NumberRange, last),
                &range.last.to_le_bytes(),
            );
        }
        put(
            offset_of!(Self, doorbell_kind),
            &self.doorbell_kind.to_le_bytes(),
        );
        put(
            offset_of!(Self, doorbell_value),
            &self.doorbell_value.to_le_bytes(),
        );
        put(
            offset_of!(Self, doorbell_address),
            &self.doorbell_address.to_le_bytes(),
        );
        for (index, element) in self.reserved.iter().enumerate() {
            let offset = offset_of!(Self, reserved) + index * size_of::<u64>();
            put(offset, &element.to_le_bytes());
        }
        bytes
    }
}

/// Eight-byte words of a [`RingEntry`].
const ENTRY_WORDS: usize = size_of::<RingEntry>() / size_of::<u64>();
/// Eight-byte words of a [`RingCompletion`].
const COMPLETION_WORDS: usize = size_of::<RingCompletion>() / size_of::<u64>();

/// A call in the submission queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RingEntry {
    /// The number.
    pub number: u32,
    /// Zero, checked.
    pub flags: u32,
    /// The arguments; those that the call does not use are zero.
    pub arguments: [u64; ARGUMENT_COUNT],
    /// Whatever the guest likes; the completion has it again.
    pub user_data: u64,
    /// Zero, checked.
    pub reserved: [u64; 2],
}

impl RingEntry {
    /// An entry that calls `number`.
    pub const fn new(number: HypercallNumber, arguments: Arguments, user_data: u64) -> Self {
        Self {
            number: number.get(),
            flags: 0,
            arguments,
            user_data,
            reserved: [0; 2],
        }
    }

    /// The entry whose eight words stand in guest memory.
    pub const fn from_words(words: [u64; ENTRY_WORDS]) -> Self {
        let [number, a, b, c, d, user_data, first, second] = words;
        Self {
            number: number as u32,
            flags: (number >> u32::BITS) as u32,
            arguments: [a, b, c, d],
            user_data,
            reserved: [first, second],
        }
    }

    /// Its words in memory.
    pub const fn to_words(&self) -> [u64; ENTRY_WORDS] {
        let [a, b, c, d] = self.arguments;
        let number = self.number as u64 | ((self.flags as u64) << u32::BITS);
        [
            number,
            a,
            b,
            c,
            d,
            self.user_data,
            self.reserved[0],
            self.reserved[1],
        ]
    }

    /// Whether everything is zero that must be.
    pub const fn is_well_formed(&self) -> bool {
        self.flags == 0 && self.reserved[0] == 0 && self.reserved[1] == 0
    }
}

impl HypercallNumber {
    /// Whether the call may stand in a ring; one that may not answers −EINVAL there. Those
    /// that do not return may not, nor those that make calls or rings themselves.
    pub const fn may_be_in_ring(self) -> bool {
        !matches!(self, EXIT | PANIC | BATCH | RING_SETUP | RING_TEARDOWN)
    }
}

/// An answer in the completion queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RingCompletion {
    /// That of the entry.
    pub user_data: u64,
    /// What the call would have left in rax, signed.
    pub result: i64,
    /// Zero.
    pub reserved: [u64; 2],
}

impl RingCompletion {
    /// The completion whose four words stand in guest memory.
    pub const fn from_words(words: [u64; COMPLETION_WORDS]) -> Self {
        let [user_data, result, first, second] = words;
        Self {
            user_data,
            result: result as i64,
            reserved: [first, second],
        }
    }

    /// Its words in memory.
    pub const fn to_words(&self) -> [u64; COMPLETION_WORDS] {
        [
            self.user_data,
            self.result as u64,
            self.reserved[0],
            self.reserved[1],
        ]
    }
}

/// Where things are in the region of a ring.
///
/// # Examples
///
/// ```
/// use hcall_abi::ring::RingLayout;
///
/// let layout = RingLayout::new(32).expect("a power of two");
/// assert_eq!(layout.bytes(), 4096);
/// assert_eq!(layout.submission(0), layout.submission(32));
/// assert!(RingLayout::new(33).is_none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLayout {
    entries: u32,
}

impl RingLayout {
    /// The layout of a ring with `entries` in each queue; `None` unless that is a power of
    /// two.
    pub const fn new(entries: u32) -> Option<Self> {
        if entries.is_power_of_two() {
            Some(Self { entries })
        } else {
            None
        }
    }

    /// Entries of each queue.
    pub const fn entries(self) -> u32 {
        self.entries
    }

    /// Bytes of the whole region.
    pub const fn bytes(self) -> u64 {
        self.completions() + self.entries as u64 * size_of::<RingCompletion>() as u64
    }

    /// Offset of the completion entries, which follow the submission entries.
    pub const fn completions(self) -> u64 {
        HEADER_BYTES + self.entries as u64 * size_of::<RingEntry>() as u64
    }

    /// Offset of the submission entry with this index, whatever the index.
    pub const fn submission(self, index: u32) -> u64 {
        HEADER_BYTES + self.place(index) * size_of::<RingEntry>() as u64
    }

    /// Offset of the completion with this index, whatever the index.
    pub const fn completion(self, index: u32) -> u64 {
        self.completions() + self.place(index) * size_of::<RingCompletion>() as u64
    }

    const fn place(self, index: u32) -> u64 {
        (index & (self.entries - 1)) as u64
    }

    /// How many entries stand between `head` and `tail`; `None` if that is more than there
    /// is room for, which no correct peer brings about.
    pub const fn occupied(self, head: u32, tail: u32) -> Option<u32> {
        let occupied = tail.wrapping_sub(head);
        if occupied > self.entries {
            return None;
        }
        Some(occupied)
    }
}

/// Whether an index that has moved from `old` to `new` has passed the entry `event`, which
/// is to say that the entry `event` is among those added. True at most once in 2^32
/// entries for an event that stays as it is.
pub const fn passed(event: u32, old: u32, new: u32) -> bool {
    event.wrapping_sub(old) < new.wrapping_sub(old)
}

/// What the header says of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingStatus {
    /// Nobody has set the ring up.
    Unserved,
    /// The host serves it.
    Running,
    /// Torn down, or the VM ends.
    Closed,
    /// Damaged; the value says by what: [`REASON_SUBMISSION`], [`REASON_COMPLETION`],
    /// [`REASON_HOST`].
    Broken(u32),
}

impl RingStatus {
    /// The status of the two words of the header.
    pub const fn from_words(status: u32, reason: u32) -> Self {
        match status {
            STATUS_RUNNING => Self::Running,
            STATUS_CLOSED => Self::Closed,
            STATUS_BROKEN => Self::Broken(reason),
            _ => Self::Unserved,
        }
    }
}

const _: () = {
    assert!(size_of::<RingSetup>() == 256);
    assert!(offset_of!(RingSetup, bytes) == 8);
    assert!(offset_of!(RingSetup, entries) == 16);
    assert!(offset_of!(RingSetup, flags) == 20);
    assert!(offset_of!(RingSetup, range_count) == 24);
    assert!(offset_of!(RingSetup, interrupt) == 28);
    assert!(offset_of!(RingSetup, ranges) == 32);
    assert!(offset_of!(RingSetup, doorbell_kind) == 160);
    assert!(offset_of!(RingSetup, doorbell_value) == 164);
    assert!(offset_of!(RingSetup, doorbell_address) == 168);
    assert!(offset_of!(RingSetup, reserved) == 176);

    assert!(size_of::<RingEntry>() == 64);
    assert!(offset_of!(RingEntry, flags) == 4);
    assert!(offset_of!(RingEntry, arguments) == 8);
    assert!(offset_of!(RingEntry, user_data) == 40);
    assert!(offset_of!(RingEntry, reserved) == 48);

    assert!(size_of::<RingCompletion>() == 32);
    assert!(offset_of!(RingCompletion, result) == 8);
    assert!(offset_of!(RingCompletion, reserved) == 16);

    assert!(REASON + 4 <= HEADER_BYTES);
    assert!(HEADER_BYTES % size_of::<RingEntry>() as u64 == 0);
};
