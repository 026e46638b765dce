// SPDX-License-Identifier: MIT OR Apache-2.0
//! The paging modes: which tables there are, and where in them an address is found.

use super::{ControlRegisters, Level};

/// CR0.PG, CR4.PSE, CR4.PAE, CR4.LA57 and EFER.LME (SDM volume 3, 5.1.1).
const PAGING: u64 = 1 << 31;
const PAGE_SIZE_EXTENSION: u64 = 1 << 4;
const PHYSICAL_ADDRESS_EXTENSION: u64 = 1 << 5;
const FIVE_LEVELS: u64 = 1 << 12;
const LONG_MODE: u64 = 1 << 8;

/// Bits 12 to 51, where CR3 and entries have the address of a table.
pub(super) const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// How linear addresses are translated (SDM volume 3, 5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PagingMode {
    /// Not at all.
    Off,
    /// Two levels of 32-bit entries, pages of 4 KiB.
    Bits32,
    /// The same, and pages of 4 MiB (PSE).
    Bits32Large,
    /// Three levels of 64-bit entries, addresses of 32 bits.
    Pae,
    /// Four levels, addresses of 48 bits.
    FourLevel,
    /// Five levels, addresses of 57 bits.
    FiveLevel,
}

impl PagingMode {
    /// The mode that these registers turn on.
    pub fn of(registers: &ControlRegisters) -> Self {
        let has = |value: u64, bit: u64| value & bit != 0;
        if !has(registers.cr0, PAGING) {
            Self::Off
        } else if !has(registers.cr4, PHYSICAL_ADDRESS_EXTENSION) {
            match has(registers.cr4, PAGE_SIZE_EXTENSION) {
                true => Self::Bits32Large,
                false => Self::Bits32,
            }
        } else if !has(registers.efer, LONG_MODE) {
            Self::Pae
        } else {
            match has(registers.cr4, FIVE_LEVELS) {
                true => Self::FiveLevel,
                false => Self::FourLevel,
            }
        }
    }

    /// Whether addresses have more than 32 bits.
    pub(super) fn is_long(self) -> bool {
        matches!(self, Self::FourLevel | Self::FiveLevel)
    }

    /// Whether entries have 64 bits.
    pub(super) fn is_wide(self) -> bool {
        self.is_long() || self == Self::Pae
    }

    /// Whether there is such an address: in long mode, one whose upper bits are alike.
    pub(super) fn has_address(self, gva: u64) -> bool {
        let is_canonical = |bits: u32| {
            let unused = u64::BITS - bits;
            ((gva << unused) as i64 >> unused) as u64 == gva
        };
        match self {
            Self::FourLevel => is_canonical(48),
            Self::FiveLevel => is_canonical(57),
            _ => u32::try_from(gva).is_ok(),
        }
    }

    /// Where the first table stands; `None` if there is none.
    pub(super) fn root(self, cr3: u64) -> Option<u64> {
        match self {
            Self::Off => None,
            Self::Bits32 | Self::Bits32Large => Some(cr3 & 0xffff_f000),
            // Four entries, aligned to their size.
            Self::Pae => Some(cr3 & 0xffff_ffe0),
            Self::FourLevel | Self::FiveLevel => Some(cr3 & ADDRESS),
        }
    }

    /// The levels above that of page tables, from the first.
    pub(super) fn upper_levels(self) -> &'static [Level] {
        const ALL: [Level; 4] = [
            Level::Pml5,
            Level::Pml4,
            Level::DirectoryPointers,
            Level::Directory,
        ];
        match self {
            Self::Off => &[],
            Self::Bits32 | Self::Bits32Large => &ALL[3..],
            Self::Pae => &ALL[2..],
            Self::FourLevel => &ALL[1..],
            Self::FiveLevel => &ALL,
        }
    }

    pub(super) fn entry_bytes(self) -> usize {
        match self.is_wide() {
            true => 8,
            false => 4,
        }
    }

    /// How many low bits of an address an entry of this level leaves open.
    pub(super) fn shift(self, level: Level) -> u32 {
        let index_bits = match self.is_wide() {
            true => 9,
            false => 10,
        };
        12 + index_bits * level as u32
    }

    /// Where in a table of this level the entry for `gva` stands.
    pub(super) fn entry_offset(self, level: Level, gva: u64) -> u64 {
        let entries = match (self, level) {
            (Self::Pae, Level::DirectoryPointers) => 4,
            _ => 4096 / self.entry_bytes() as u64,
        };
        ((gva >> self.shift(level)) & (entries - 1)) * self.entry_bytes() as u64
    }
}
