// SPDX-License-Identifier: MIT OR Apache-2.0
//! Page tables of every mode, as a guest's kernel makes them.

use hcall_abi::Gpa;
use hcall_vmm::memory::CopyGuestMemory;
use hcall_vmm::paging::{AddressSpace, ControlRegisters, Level, PagingMode};
use vm_memory::{GuestAddress, GuestMemoryMmap};

/// Where the tables begin, and how much memory there is for them and beside them.
pub(crate) const TABLES: u64 = 0x1_0000;
pub(crate) const MEMORY_BYTES: usize = 0x4_0000;

const TABLE_BYTES: u64 = 0x1000;

pub(crate) const PRESENT: u64 = 1;
pub(crate) const WRITABLE: u64 = 2;
pub(crate) const USERS: u64 = 4;
pub(crate) const LARGE: u64 = 1 << 7;
pub(crate) const NO_EXECUTE: u64 = 1 << 63;

pub(crate) const WRITE_PROTECT: u64 = 1 << 16;
pub(crate) const NO_EXECUTE_ENABLED: u64 = 1 << 11;

pub(crate) const MODES: [PagingMode; 5] = [
    PagingMode::Bits32,
    PagingMode::Bits32Large,
    PagingMode::Pae,
    PagingMode::FourLevel,
    PagingMode::FiveLevel,
];

/// Guest memory with page tables in it.
pub(crate) struct PageTables {
    pub(crate) memory: GuestMemoryMmap,
    pub(crate) registers: ControlRegisters,
    mode: PagingMode,
    free: u64,
}

/// The registers that turn `mode` on.
pub(crate) fn registers(mode: PagingMode) -> ControlRegisters {
    let (protection, paging) = (1, 1 << 31);
    let (large, wide, five_levels) = (1 << 4, 1 << 5, 1 << 12);
    let long_mode = (1 << 8) | (1 << 10);
    let (cr4, efer) = match mode {
        PagingMode::Bits32Large => (large, 0),
        PagingMode::Pae => (wide, 0),
        PagingMode::FourLevel => (wide, long_mode),
        PagingMode::FiveLevel => (wide | five_levels, long_mode),
        _ => (0, 0),
    };
    ControlRegisters {
        cr0: match mode {
            PagingMode::Off => protection,
            _ => protection | paging,
        },
        cr3: TABLES,
        cr4,
        efer: efer | NO_EXECUTE_ENABLED,
    }
}

/// The levels of a mode at which a page can be mapped, and its size there.
pub(crate) fn page_sizes(mode: PagingMode) -> &'static [(Level, u64)] {
    match mode {
        PagingMode::Bits32 => &[(Level::Table, 1 << 12)],
        PagingMode::Bits32Large => &[(Level::Table, 1 << 12), (Level::Directory, 1 << 22)],
        PagingMode::Pae => &[(Level::Table, 1 << 12), (Level::Directory, 1 << 21)],
        _ => &[
            (Level::Table, 1 << 12),
            (Level::Directory, 1 << 21),
            (Level::DirectoryPointers, 1 << 30),
        ],
    }
}

/// How many bits of an address lie below the index into a table of this level, and how many
/// the index has.
fn place(mode: PagingMode, level: Level) -> (u32, u32) {
    match (mode, level) {
        (PagingMode::Bits32 | PagingMode::Bits32Large, Level::Table) => (12, 10),
        (PagingMode::Bits32 | PagingMode::Bits32Large, _) => (22, 10),
        (_, Level::Table) => (12, 9),
        (_, Level::Directory) => (21, 9),
        (PagingMode::Pae, _) => (30, 2),
        (_, Level::DirectoryPointers) => (30, 9),
        (_, Level::Pml4) => (39, 9),
        (_, Level::Pml5) => (48, 9),
    }
}

/// The levels of a mode, from the first.
pub(crate) fn levels(mode: PagingMode) -> &'static [Level] {
    const ALL: [Level; 5] = [
        Level::Pml5,
        Level::Pml4,
        Level::DirectoryPointers,
        Level::Directory,
        Level::Table,
    ];
    match mode {
        PagingMode::Pae => &ALL[2..],
        PagingMode::FourLevel => &ALL[1..],
        PagingMode::FiveLevel => &ALL,
        _ => &ALL[3..],
    }
}

impl PageTables {
    /// Memory with an empty first table.
    pub(crate) fn new(mode: PagingMode) -> Self {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY_BYTES)]);
        Self {
            memory: memory.expect("the memory can be mapped"),
            registers: registers(mode),
            mode,
            free: TABLES + TABLE_BYTES,
        }
    }

    pub(crate) fn space(&self) -> AddressSpace {
        AddressSpace::new(self.registers)
    }

    fn entry_bytes(&self) -> usize {
        match self.mode {
            PagingMode::Bits32 | PagingMode::Bits32Large => 4,
            _ => 8,
        }
    }

    fn read(&self, gpa: u64) -> u64 {
        let mut bytes = [0; 8];
        CopyGuestMemory::read(
            &self.memory,
            Gpa::new(gpa),
            &mut bytes[..self.entry_bytes()],
        )
        .expect("a table's entry");
        u64::from_le_bytes(bytes)
    }

    pub(crate) fn write(&self, gpa: u64, entry: u64) {
        let bytes = &entry.to_le_bytes()[..self.entry_bytes()];
        CopyGuestMemory::write(&self.memory, Gpa::new(gpa), bytes).expect("a table's entry");
    }

    /// Where the entry for `gva` stands at `level`; the tables on the way are made, with
    /// entries that let everything.
    pub(crate) fn entry(&mut self, gva: u64, level: Level) -> u64 {
        let mut table = self.registers.cr3;
        for upper in levels(self.mode) {
            let (shift, index_bits) = place(self.mode, *upper);
            let index = (gva >> shift) & ((1 << index_bits) - 1);
            let entry = table + index * self.entry_bytes() as u64;
            if *upper == level {
                return entry;
            }
            if self.read(entry) & PRESENT == 0 {
                // In PAE's first table, no right may be said.
                let rights = match (self.mode, *upper) {
                    (PagingMode::Pae, Level::DirectoryPointers) => 0,
                    _ => WRITABLE | USERS,
                };
                self.write(entry, self.free | PRESENT | rights);
                self.free += TABLE_BYTES;
            }
            table = self.read(entry) & 0x000f_ffff_ffff_f000;
        }
        unreachable!("the mode has the level")
    }

    /// Maps a page of `level` at `gva` to `gpa`, with these further bits in its entry.
    pub(crate) fn map(&mut self, gva: u64, gpa: u64, level: Level, bits: u64) {
        let entry = self.entry(gva, level);
        let large = match level {
            Level::Table => 0,
            _ => LARGE,
        };
        // PSE-36: of a page of 4 MiB, the address' bits from 32 on stand in bits from 13 on.
        let address = match (self.mode, level) {
            (PagingMode::Bits32Large, Level::Directory) => {
                (gpa & 0xffff_ffff) | ((gpa >> 32) << 13)
            }
            _ => gpa,
        };
        self.write(entry, address | PRESENT | large | bits);
    }
}
