// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! `/dev/hcall`: ioctl numbers and structures, the same for 64-bit and 32-bit callers.
//!
//! Two kinds of failure never mix. The ioctl itself fails with an errno when the call was
//! not made (unknown request, reserved field not zero, policy, no permission); it returns
//! 0 when it was made, and what the host answered stands in `result`.

use super::convention::ARGUMENT_COUNT;
use core::mem::{offset_of, size_of};

/// The node's path.
pub const DEVICE_PATH: &str = "/dev/hcall";
/// The node's name below `/dev`.
pub const DEVICE_NAME: &str = "hcall";
/// The node's mode: owner only.
pub const DEVICE_MODE: u32 = 0o600;

/// The ioctl "type" byte.
pub const IOCTL_MAGIC: u8 = b'H';

/// Sequence number of [`INFO`].
pub const INFO_SEQUENCE: u8 = 0x00;
/// Sequence number of [`CALL`].
pub const CALL_SEQUENCE: u8 = 0x01;
/// Sequence number of [`CALL_BUFFER`].
pub const CALL_BUFFER_SEQUENCE: u8 = 0x02;
/// Sequence number of [`BATCH`].
pub const BATCH_SEQUENCE: u8 = 0x03;
/// Sequence number of [`RESTRICT`].
pub const RESTRICT_SEQUENCE: u8 = 0x04;
/// Sequence number of [`RING_SETUP`].
pub const RING_SETUP_SEQUENCE: u8 = 0x05;
/// Sequence number of [`RING_KICK`].
pub const RING_KICK_SEQUENCE: u8 = 0x06;
/// Sequence number of [`RING_WAIT`].
pub const RING_WAIT_SEQUENCE: u8 = 0x07;

/// `INFO`: the kernel writes an [`Info`].
pub const INFO: u32 = ioctl_number(DIRECTION_READ, INFO_SEQUENCE, size_of::<Info>());
/// `CALL`: the kernel reads a [`Call`], makes the hypercall and writes `result`.
pub const CALL: u32 = ioctl_number(
    DIRECTION_READ | DIRECTION_WRITE,
    CALL_SEQUENCE,
    size_of::<Call>(),
);
/// `CALL_BUFFER`: as `CALL`, with a buffer of the process handed to the host by way of
/// kernel memory; the kernel reads and writes a [`CallBuffer`].
pub const CALL_BUFFER: u32 = ioctl_number(
    DIRECTION_READ | DIRECTION_WRITE,
    CALL_BUFFER_SEQUENCE,
    size_of::<CallBuffer>(),
);
/// `BATCH`: many calls for one exit; the kernel reads and writes a [`Batch`] and its entries.
pub const BATCH: u32 = ioctl_number(
    DIRECTION_READ | DIRECTION_WRITE,
    BATCH_SEQUENCE,
    size_of::<Batch>(),
);
/// `RESTRICT`: narrows what the open file may call; the kernel reads a [`Restrict`].
pub const RESTRICT: u32 = ioctl_number(DIRECTION_WRITE, RESTRICT_SEQUENCE, size_of::<Restrict>());
/// `RING_SETUP`: gives the file its one ring, to be mapped at offset 0; the kernel reads
/// and writes a [`ProcessRing`].
pub const RING_SETUP: u32 = ioctl_number(
    DIRECTION_READ | DIRECTION_WRITE,
    RING_SETUP_SEQUENCE,
    size_of::<ProcessRing>(),
);
/// `RING_KICK`: rings the host's doorbell for the file's ring; no structure.
pub const RING_KICK: u32 = ioctl_number(DIRECTION_NONE, RING_KICK_SEQUENCE, 0);
/// `RING_WAIT`: sleeps until the host has completed more than the process has seen; the
/// kernel reads a [`RingWait`].
pub const RING_WAIT: u32 = ioctl_number(DIRECTION_WRITE, RING_WAIT_SEQUENCE, size_of::<RingWait>());

const DIRECTION_NONE: u32 = 0;
const DIRECTION_WRITE: u32 = 1;
const DIRECTION_READ: u32 = 2;

/// Linux' `_IOC` on x86 (`include/uapi/asm-generic/ioctl.h`): direction in bits 30–31,
/// size in 16–29, type in 8–15, sequence in 0–7.
const fn ioctl_number(direction: u32, sequence: u8, size: usize) -> u32 {
    assert!(size < 1 << 14);
    (direction << 30) | ((size as u32) << 16) | ((IOCTL_MAGIC as u32) << 8) | sequence as u32
}

/// One hypercall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Call {
    /// In: the hypercall number.
    pub number: u32,
    /// In: zero.
    pub flags: u32,
    /// In: the arguments; unused ones zero.
    pub arguments: [u64; ARGUMENT_COUNT],
    /// Out: the host's answer, to be decoded by [`decode_result`](super::result::decode_result).
    pub result: i64,
}

/// One hypercall that passes a buffer as (GPA, length).
///
/// The kernel copies the process's buffer into contiguous pages of its own (if
/// [`BUFFER_IN`]), gives the host their GPA in `arguments[gpa_index]` and `length` in the
/// argument after it, and copies them back (if [`BUFFER_OUT`] and the host answered ≥ 0).
/// The pages hold nothing else: the host is lent no memory of the process or of anything
/// else in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CallBuffer {
    /// In: the hypercall number.
    pub number: u32,
    /// In: [`BUFFER_IN`], [`BUFFER_OUT`] or both; other bits zero.
    pub flags: u32,
    /// In: the arguments; the two that carry GPA and length zero.
    pub arguments: [u64; ARGUMENT_COUNT],
    /// Out: the host's answer, as in [`Call::result`].
    pub result: i64,
    /// In: address of the buffer in the process.
    pub buffer: u64,
    /// In: length of the buffer in bytes, at most [`BUFFER_MAX`].
    pub length: u32,
    /// In: index of the argument that carries the GPA, 0 to 2.
    pub gpa_index: u32,
}

/// [`CallBuffer::flags`]: the host reads the buffer.
pub const BUFFER_IN: u32 = 1 << 0;
/// [`CallBuffer::flags`]: the host writes the buffer.
pub const BUFFER_OUT: u32 = 1 << 1;
/// The longest buffer of a `CALL_BUFFER` in bytes; the host may have a lower limit.
pub const BUFFER_MAX: u32 = 64 << 10;

/// A ring for an open file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ProcessRing {
    /// In: calls that the ring can hold, a power of two, at most [`Info::ring_entries`].
    pub entries: u32,
    /// In: zero.
    pub flags: u32,
    /// Out: what the host answered; there is a ring if it is not negative.
    pub result: i64,
    /// Out: length in bytes of the mapping to be made, at offset 0 of the file.
    pub bytes: u64,
    /// Out: [`RING_INTERRUPT`]; other bits zero.
    pub features: u32,
    /// In and out: zero.
    pub reserved: u32,
}

/// [`ProcessRing::features`]: the host's interrupt ends a [`RING_WAIT`]. Without it the
/// kernel looks at the ring from time to time.
pub const RING_INTERRUPT: u32 = 1 << 0;

/// How long to sleep for completions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RingWait {
    /// In: the host's completion index as the process has seen it; the request returns
    /// as soon as it is another one.
    pub seen: u32,
    /// In: zero.
    pub flags: u32,
    /// In: nanoseconds after which the request fails with ETIMEDOUT.
    pub timeout: u64,
}

/// What the module found at load time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Info {
    /// ABI version of the host, which is the module's own: it loads on no other.
    pub abi_version: u32,
    /// The transport in use.
    pub transport: u32,
    /// The transports that the host offered.
    pub transports_offered: u32,
    /// Feature bits of the host.
    pub features: u32,
    /// CPUID base of the host's block.
    pub cpuid_base: u32,
    /// The trap instruction in use: [`INSTRUCTION_NONE`], [`INSTRUCTION_VMMCALL`],
    /// [`INSTRUCTION_VMCALL`].
    pub instruction: u32,
    /// Most entries of one batch, 0 if not offered.
    pub batch_entries: u32,
    /// Most entries of one ring, 0 if not offered.
    pub ring_entries: u32,
    /// Longest buffer of one call in bytes.
    pub buffer_bytes: u32,
    /// Zero.
    pub reserved: [u32; 7],
}

/// [`Info::instruction`]: the transport uses no trap instruction.
pub const INSTRUCTION_NONE: u32 = 0;
/// [`Info::instruction`]: VMMCALL.
pub const INSTRUCTION_VMMCALL: u32 = 1;
/// [`Info::instruction`]: VMCALL.
pub const INSTRUCTION_VMCALL: u32 = 2;

/// An array of calls, made with one exit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Batch {
    /// In: address in the process of the [entries](super::batch::BatchEntry).
    pub entries: u64,
    /// In: how many they are, at most [`BATCH_MAX`].
    pub count: u32,
    /// In: the flags of the call `BATCH`.
    pub flags: u32,
    /// Out: the host's answer to the batch; those to its entries are in their `result`.
    pub result: i64,
}

/// Most entries of one `BATCH` of a process, whatever the host's limit.
pub const BATCH_MAX: u32 = 256;

/// The numbers from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NumberRange {
    /// The first number.
    pub first: u32,
    /// The last number, not below the first.
    pub last: u32,
}

/// In hexadecimal; one number where first and last are the same.
impl core::fmt::Display for NumberRange {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "{:#x}", self.first)?;
        if self.last != self.first {
            write!(formatter, "-{:#x}", self.last)?;
        }
        Ok(())
    }
}

/// What an open file may call from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Restrict {
    /// In: how many ranges there are, at most [`RANGES_MAX`]; 0 allows nothing.
    pub count: u32,
    /// In: zero.
    pub reserved: u32,
    /// In: the ranges; those beyond `count` zero.
    pub ranges: [NumberRange; RANGES_MAX as usize],
}

/// Most ranges of one `RESTRICT`.
pub const RANGES_MAX: u32 = 16;

const _: () = {
    assert!(size_of::<Call>() == 48);
    assert!(offset_of!(Call, number) == 0);
    assert!(offset_of!(Call, flags) == 4);
    assert!(offset_of!(Call, arguments) == 8);
    assert!(offset_of!(Call, result) == 40);

    assert!(size_of::<CallBuffer>() == 64);
    assert!(offset_of!(CallBuffer, number) == 0);
    assert!(offset_of!(CallBuffer, flags) == 4);
    assert!(offset_of!(CallBuffer, arguments) == 8);
    assert!(offset_of!(CallBuffer, result) == 40);
    assert!(offset_of!(CallBuffer, buffer) == 48);
    assert!(offset_of!(CallBuffer, length) == 56);
    assert!(offset_of!(CallBuffer, gpa_index) == 60);

    assert!(size_of::<ProcessRing>() == 32);
    assert!(offset_of!(ProcessRing, entries) == 0);
    assert!(offset_of!(ProcessRing, flags) == 4);
    assert!(offset_of!(ProcessRing, result) == 8);
    assert!(offset_of!(ProcessRing, bytes) == 16);
    assert!(offset_of!(ProcessRing, features) == 24);
    assert!(offset_of!(ProcessRing, reserved) == 28);

    assert!(size_of::<RingWait>() == 16);
    assert!(offset_of!(RingWait, seen) == 0);
    assert!(offset_of!(RingWait, flags) == 4);
    assert!(offset_of!(RingWait, timeout) == 8);

    assert!(size_of::<Info>() == 64);
    assert!(offset_of!(Info, abi_version) == 0);
    assert!(offset_of!(Info, transport) == 4);
    assert!(offset_of!(Info, transports_offered) == 8);
    assert!(offset_of!(Info, features) == 12);
    assert!(offset_of!(Info, cpuid_base) == 16);
    assert!(offset_of!(Info, instruction) == 20);
    assert!(offset_of!(Info, batch_entries) == 24);
    assert!(offset_of!(Info, ring_entries) == 28);
    assert!(offset_of!(Info, buffer_bytes) == 32);
    assert!(offset_of!(Info, reserved) == 36);

    assert!(size_of::<Batch>() == 24);
    assert!(offset_of!(Batch, entries) == 0);
    assert!(offset_of!(Batch, count) == 8);
    assert!(offset_of!(Batch, flags) == 12);
    assert!(offset_of!(Batch, result) == 16);

    assert!(size_of::<NumberRange>() == 8);
    assert!(offset_of!(NumberRange, first) == 0);
    assert!(offset_of!(NumberRange, last) == 4);

    assert!(size_of::<Restrict>() == 136);
    assert!(offset_of!(Restrict, count) == 0);
    assert!(offset_of!(Restrict, reserved) == 4);
    assert!(offset_of!(Restrict, ranges) == 8);

    assert!(INFO == 0x8040_4800);
    assert!(CALL == 0xc030_4801);
    assert!(CALL_BUFFER == 0xc040_4802);
    assert!(BATCH == 0xc018_4803);
    assert!(RESTRICT == 0x4088_4804);
    assert!(RING_SETUP == 0xc020_4805);
    assert!(RING_KICK == 0x4806);
    assert!(RING_WAIT == 0x4010_4807);
};
