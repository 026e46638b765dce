// SPDX-License-Identifier: MIT OR Apache-2.0
//! Entries of page tables: what they let, where they lead, and which bits they may not have.

use super::mode::ADDRESS;
use super::{ControlRegisters, Level, Page, PageFault, PagingMode};
use hcall_abi::Gpa;

/// Bits of every entry (SDM volume 3, 5.3 to 5.5).
const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USERS: u64 = 1 << 2;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;

/// EFER.NXE, without which `NO_EXECUTE` is reserved.
const NO_EXECUTE_ENABLED: u64 = 1 << 11;

/// What may be done with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rights {
    pub(super) writable: bool,
    pub(super) users: bool,
    pub(super) executable: bool,
}

impl Rights {
    pub(super) const ALL: Self = Self {
        writable: true,
        users: true,
        executable: true,
    };

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            writable: self.writable && other.writable,
            users: self.users && other.users,
            executable: self.executable && other.executable,
        }
    }
}

/// An entry that is present and has no reserved bit set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    value: u64,
    level: Level,
    mode: PagingMode,
}

impl Entry {
    pub(super) fn check(
        value: u64,
        level: Level,
        mode: PagingMode,
        registers: &ControlRegisters,
    ) -> Result<Self, PageFault> {
        if value & PRESENT == 0 {
            return Err(PageFault::NotPresent(level));
        }
        let entry = Self { value, level, mode };
        let mut reserved = entry.reserved();
        if mode.is_wide() && registers.efer & NO_EXECUTE_ENABLED == 0 {
            reserved |= NO_EXECUTE;
        }
        if value & reserved != 0 {
            return Err(PageFault::ReservedBit {
                level,
                entry: value,
            });
        }
        Ok(entry)
    }

    /// The bits that must be clear, whatever else is set (SDM volume 3, figures 5-4, 5-7
    /// and 5-11).
    fn reserved(&self) -> u64 {
        let by_mode = match (self.mode, self.level) {
            // Bit 5 too, by the book; QEMU's processors set it as they set other entries'.
            (PagingMode::Pae, Level::DirectoryPointers) => bits(1, 2) | bits(6, 8) | bits(52, 63),
            (PagingMode::Pae, _) => bits(52, 62),
            _ => 0,
        };
        let by_size = match self.level {
            Level::Pml4 | Level::Pml5 => LARGE,
            _ if !self.is_large() => 0,
            Level::Directory if self.mode == PagingMode::Bits32Large => bits(21, 21),
            // What the address has no room for; bit 12 selects a memory type.
            _ => bits(13, self.mode.shift(self.level) - 1),
        };
        by_mode | by_size
    }

    /// Whether it maps a page where it could lead to a table.
    pub(super) fn is_large(&self) -> bool {
        let may_be = match self.level {
            Level::Directory => self.mode != PagingMode::Bits32,
            Level::DirectoryPointers => self.mode.is_long(),
            Level::Table | Level::Pml4 | Level::Pml5 => false,
        };
        may_be && self.value & LARGE != 0
    }

    pub(super) fn rights(&self) -> Rights {
        if (self.mode, self.level) == (PagingMode::Pae, Level::DirectoryPointers) {
            return Rights::ALL;
        }
        Rights {
            writable: self.value & WRITABLE != 0,
            users: self.value & USERS != 0,
            executable: self.value & NO_EXECUTE == 0,
        }
    }

    /// The table that it leads to.
    pub(super) fn table(&self) -> u64 {
        self.value & ADDRESS
    }

    /// Where `gva` is in the page that it maps.
    pub(super) fn page(&self, gva: u64, rights: Rights) -> Page {
        let size = 1 << self.mode.shift(self.level);
        Page {
            gpa: Gpa::new(self.frame(size) | (gva & (size - 1))),
            size,
            rights,
        }
    }

    /// The address of the page, of this size.
    fn frame(&self, size: u64) -> u64 {
        let low = self.value & ADDRESS & !(size - 1);
        match (self.mode, self.level) {
            // Bits 32 to 39 of the address stand in bits 13 to 20 (PSE-36).
            (PagingMode::Bits32Large, Level::Directory) => {
                low | ((self.value & bits(13, 20)) << (32 - 13))
            }
            _ => low,
        }
    }
}

/// A mask of the bits from `first` to `last`.
const fn bits(first: u32, last: u32) -> u64 {
    (u64::MAX >> (u64::BITS - 1 - last)) & (u64::MAX << first)
}
