// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The version of the ABI and the magic that [`PROBE`](super::number::PROBE) returns.

/// A version of the ABI: a plain integer, separate from every crate's version.
///
/// Two sides understand each other exactly when they name the same version. What is
/// added compatibly within a version is announced by feature bits, never by this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AbiVersion(u32);

impl AbiVersion {
    /// A version as read from a host; any value can be named, not every one is known.
    pub const fn new(version: u32) -> Self {
        Self(version)
    }

    /// The integer that CPUID, `PROBE` and `INFO` carry.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl core::fmt::Display for AbiVersion {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// The version that this crate describes.
pub const ABI_VERSION: AbiVersion = AbiVersion(1);

/// The upper 32 bits of the result of `PROBE`: the bytes `"HCAL"`, most significant first.
pub const PROBE_MAGIC: u32 = 0x4843_414c;

/// The result of `PROBE` on a host of this version: [`PROBE_MAGIC`] above the version.
pub const PROBE_RESULT: u64 = ((PROBE_MAGIC as u64) << 32) | ABI_VERSION.0 as u64;
