// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an interrupt is called.

use std::fmt;

/// An interrupt's vector: 16 to 255, those that a local APIC delivers.
///
/// # Examples
///
/// ```
/// use hcall_plugin::InterruptVector;
/// assert_eq!(InterruptVector::new(0x40).map(InterruptVector::get), Some(0x40));
/// assert_eq!(InterruptVector::new(15), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterruptVector(u8);

impl InterruptVector {
    /// The lowest: a local APIC takes none below for an interrupt (SDM volume 3, 12.5.2).
    pub const LOWEST: Self = Self(16);

    /// The vector of this number, or `None` if it is below [`LOWEST`](Self::LOWEST).
    pub const fn new(number: u8) -> Option<Self> {
        if number < Self::LOWEST.0 {
            return None;
        }
        Some(Self(number))
    }

    /// Its number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for InterruptVector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}", self.0)
    }
}
