// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! Structures that the host writes into guest memory. Little-endian, no implicit
//! padding; sizes and offsets are asserted here and never change within a version.
//!
//! A caller passes its buffer's length; the host writes at most that, and returns how
//! much it wrote, so that a structure can grow at its end in a later version.

use core::mem::{offset_of, size_of};

/// A point in time, written by `TIME`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TimeValue {
    /// Whole seconds since the clock's epoch.
    pub seconds: u64,
    /// Nanoseconds within the second, below 10^9.
    pub nanoseconds: u32,
    /// Zero.
    pub reserved: u32,
}

/// The clock argument of `TIME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
#[non_exhaustive]
pub enum Clock {
    /// Time since 1970-01-01T00:00:00Z on the host.
    Realtime = 0,
    /// Time since some fixed moment before the VM started; never goes back.
    Monotonic = 1,
}

impl Clock {
    /// The clock of an argument, `None` for an unknown one.
    pub const fn from_raw(raw: u64) -> Option<Self> {
        match raw {
            0 => Some(Self::Realtime),
            1 => Some(Self::Monotonic),
            _ => None,
        }
    }

    /// The argument that stands for the clock.
    pub const fn raw(self) -> u64 {
        self as u64
    }
}

/// What the host says of the VM, written by `GUEST_INFO`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct GuestInfo {
    /// ABI version of the host.
    pub abi_version: u32,
    /// Feature bits of the host.
    pub features: u32,
    /// Identifier of the vCPU that asked.
    pub vcpu: u32,
    /// Number of vCPUs of the VM.
    pub vcpu_count: u32,
    /// Bytes of guest memory.
    pub memory_bytes: u64,
    /// Frequency of the time-stamp counter in kHz, 0 if unknown.
    pub tsc_khz: u32,
    /// The transport over which this call came.
    pub transport: u32,
}

/// Counters of the VM since it started, written by `STATS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Stats {
    /// Calls that arrived, this one included.
    pub calls: u64,
    /// Of these, by the instruction.
    pub instruction: u64,
    /// Of these, by a carrier call.
    pub carrier: u64,
    /// Of these, by the port.
    pub port: u64,
    /// Calls whose number no handler is registered for.
    pub unknown: u64,
    /// Calls refused for their privilege level, or by the policy of a ring.
    pub refused: u64,
    /// Calls that a handler answered with an errno.
    pub failed: u64,
    /// Handlers that panicked.
    pub panicked: u64,
}

impl TimeValue {
    /// The bytes as they stand in guest memory.
    pub const fn to_bytes(&self) -> [u8; size_of::<Self>()] {
        let mut bytes = [0; size_of::<Self>()];
        put(
            &mut bytes,
            offset_of!(Self, seconds),
            &self.seconds.to_le_bytes(),
        );
        put(
            &mut bytes,
            offset_of!(Self, nanoseconds),
            &self.nanoseconds.to_le_bytes(),
        );
        bytes
    }
}

impl GuestInfo {
    /// The bytes as they stand in guest memory.
    pub const fn to_bytes(&self) -> [u8; size_of::<Self>()] {
        let mut bytes = [0; size_of::<Self>()];
        put(
            &mut bytes,
            offset_of!(Self, abi_version),
            &self.abi_version.to_le_bytes(),
        );
        put(
            &mut bytes,
            offset_of!(Self, features),
            &self.features.to_le_bytes(),
        );
        put(&mut bytes, offset_of!(Self, vcpu), &self.vcpu.to_le_bytes());
        put(
            &mut bytes,
            offset_of!(Self, vcpu_count),
            &self.vcpu_count.to_le_bytes(),
        );
        put(
            &mut bytes,
            offset_of!(Self, memory_bytes),
            &self.memory_bytes.to_le_bytes(),
        );
        put(
            &mut bytes,
            offset_of!(Self, tsc_khz),
            &self.tsc_khz.to_le_bytes(),
        );
        put(
            &mut bytes,
            offset_of!(Self, transport),
            &self.transport.to_le_bytes(),
        );
        bytes
    }
}

impl Stats {
    /// The bytes as they stand in guest memory.
    pub const fn to_bytes(&self) -> [u8; size_of::<Self>()] {
        let mut bytes = [0; size_of::<Self>()];
        put(
            &mut bytes,
            offset_of!(Self, calls),
            &self.calls.to_le_bytes(),
        );
        put(
            &mut bytes,
            offset_of!(Self, instruction),
            &self.instruction.to_le_bytes(),
        );
        put(
            &mut bytes,
            offset_of!(Self, carrier),
            &self.carrier.to_le_bytes(),
        );
        put(&mut bytes, offset_of!(Self, port), &self.port.to_le_bytes());
        put(
            &mut bytes,
            offset_of!(Self, unknown),
            &self.unknown.to_le_bytes(),
        );
        put(
            &mut bytes,
            offset_of!(Self, refused),
            &self.refused.to_le_bytes(),
        );
        put(
            &mut bytes,
            offset_of!(Self, failed),
            &self.failed.to_le_bytes(),
        );
        put(
            &mut bytes,
            offset_of!(Self, panicked),
            &self.panicked.to_le_bytes(),
        );
        bytes
    }
}

/// Copies `field` to `offset` of `bytes`; a loop, because slices cannot be copied in
/// const fn at the minimum Rust version.
const fn put(bytes: &mut [u8], offset: usize, field: &[u8]) {
    let mut index = 0;
    while index < field.len() {
        bytes[offset + index] = field[index];
        index += 1;
    }
}

const _: () = {
    assert!(size_of::<TimeValue>() == 16);
    assert!(offset_of!(TimeValue, nanoseconds) == 8);

    assert!(size_of::<GuestInfo>() == 32);
    assert!(offset_of!(GuestInfo, features) == 4);
    assert!(offset_of!(GuestInfo, vcpu) == 8);
    assert!(offset_of!(GuestInfo, vcpu_count) == 12);
    assert!(offset_of!(GuestInfo, memory_bytes) == 16);
    assert!(offset_of!(GuestInfo, tsc_khz) == 24);
    assert!(offset_of!(GuestInfo, transport) == 28);

    assert!(size_of::<Stats>() == 64);
    assert!(offset_of!(Stats, instruction) == 8);
    assert!(offset_of!(Stats, carrier) == 16);
    assert!(offset_of!(Stats, port) == 24);
    assert!(offset_of!(Stats, unknown) == 32);
    assert!(offset_of!(Stats, refused) == 40);
    assert!(offset_of!(Stats, failed) == 48);
    assert!(offset_of!(Stats, panicked) == 56);
};
