// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The type of guest-physical addresses, so that none is mistaken for a virtual one.

/// A guest-physical address: what a hypercall passes where it passes memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Gpa(u64);

impl Gpa {
    /// The address `address`; whether memory is there is the host's to check.
    pub const fn new(address: u64) -> Self {
        Self(address)
    }

    /// The address as a number, as it stands in an argument register.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl core::fmt::Display for Gpa {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "{:#x}", self.0)
    }
}
