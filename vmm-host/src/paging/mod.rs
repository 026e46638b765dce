// SPDX-License-Identifier: MIT OR Apache-2.0
//! From guest-virtual addresses to guest-physical ones, by the guest's page tables in guest
//! memory: no paging, 32 bits with and without large pages, PAE, four and five levels (SDM
//! volume 3, chapter 5).
//!
//! A walk is a function of what is given to it. Whatever stands in the tables, it is at most
//! five reads of guest memory, each bounds-checked: tables that lead to themselves, to nowhere
//! or around in a circle are numbers like others.
//!
//! What it does not know: the width of the guest's physical addresses, so that bits above it
//! are taken for address bits, which lead outside memory; whether the guest's processor has
//! pages of 1 GiB; and, of PAE, the four entries that the processor has loaded, in whose place
//! it reads those in memory. It sets no accessed and no dirty bit.
//!
//! # Examples
//!
//! ```
//! use hcall_vmm::memory::CopyGuestMemory;
//! use hcall_vmm::paging::{AddressSpace, ControlRegisters, PageFault};
//! use hcall_vmm::Gpa;
//! use vm_memory::{GuestAddress, GuestMemoryMmap};
//!
//! let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 0x4000)])?;
//! // A page directory at 0x1000 with a page of 4 MiB that may be read only, at 8 MiB.
//! CopyGuestMemory::write(&memory, Gpa::new(0x1008), &0x0080_0081_u32.to_le_bytes())?;
//! let space = AddressSpace::new(ControlRegisters {
//!     cr0: 1 << 31 | 1, // paging, protection
//!     cr3: 0x1000,
//!     cr4: 1 << 4, // large pages
//!     efer: 0,
//! });
//! let page = space.walk(&memory, 0x0080_0123)?;
//! assert_eq!((page.gpa(), page.size()), (Gpa::new(0x0080_0123), 4 << 20));
//! assert!(!page.is_writable());
//! assert!(matches!(space.walk(&memory, 0), Err(PageFault::NotPresent(_))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod entry;
mod mode;

use crate::memory::{CopyGuestMemory, OutsideMemory};
use crate::vcpu::Cpl;
use entry::{Entry, Rights};
use hcall_abi::{Errno, Gpa};
use kvm_bindings::kvm_sregs;
use std::fmt;

pub use mode::PagingMode;

/// CR0.WP (SDM volume 3, 2.5).
const WRITE_PROTECT: u64 = 1 << 16;

/// The user's privilege level; the others are the supervisor's (SDM volume 3, 5.6).
const USER: u8 = 3;

/// What stands in the registers on which a translation depends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlRegisters {
    /// CR0.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// IA32_EFER.
    pub efer: u64,
}

impl From<&kvm_sregs> for ControlRegisters {
    fn from(sregs: &kvm_sregs) -> Self {
        Self {
            cr0: sregs.cr0,
            cr3: sregs.cr3,
            cr4: sregs.cr4,
            efer: sregs.efer,
        }
    }
}

/// One of the tables, by what its entries are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Of pages.
    Table,
    /// Of page tables, or large pages.
    Directory,
    /// Of page directories, or pages of 1 GiB.
    DirectoryPointers,
    /// Level 4.
    Pml4,
    /// Level 5.
    Pml5,
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Table => "page table",
            Self::Directory => "page directory",
            Self::DirectoryPointers => "page-directory-pointer table",
            Self::Pml4 => "PML4 table",
            Self::Pml5 => "PML5 table",
        })
    }
}

/// Why an address leads to no memory, or to none that may be used so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PageFault {
    /// The mode has no such address: it is not canonical, or above 4 GiB outside of long mode.
    #[error("the address is none of this mode's")]
    NoSuchAddress,
    /// An entry says that nothing is there.
    #[error("the entry in the {0} is not present")]
    NotPresent(Level),
    /// An entry has a bit set that must be clear.
    #[error("the entry {entry:#x} in the {level} has a reserved bit set")]
    ReservedBit {
        /// Where the entry stands.
        level: Level,
        /// All of it.
        entry: u64,
    },
    /// An entry leads to a table where no memory is.
    #[error("the {level} would be at {gpa}, where no memory is")]
    TableOutsideMemory {
        /// Which table.
        level: Level,
        /// The address of the entry in it.
        gpa: Gpa,
    },
    /// The page is there, but not all of it is memory.
    #[error(transparent)]
    OutsideMemory(#[from] OutsideMemory),
    /// It may only be read.
    #[error("the page is read-only")]
    ReadOnly,
    /// It is not for processes.
    #[error("the page is the supervisor's")]
    SupervisorOnly,
}

impl From<PageFault> for Errno {
    fn from(_: PageFault) -> Self {
        Errno::EFAULT
    }
}

/// What is done with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// It is read.
    Read,
    /// It is written.
    Write,
}

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    gpa: Gpa,
    size: u64,
    rights: Rights,
}

impl Page {
    /// The address, translated: inside the page.
    pub fn gpa(&self) -> Gpa {
        self.gpa
    }

    /// The page's size in bytes: a power of two, to which the page is aligned. Without paging
    /// it is 4096.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes from the address to the page's end.
    pub fn remaining(&self) -> u64 {
        self.size - (self.gpa.get() & (self.size - 1))
    }

    /// Whether every entry on the way lets it be written.
    pub fn is_writable(&self) -> bool {
        self.rights.writable
    }

    /// Whether every entry on the way lets processes use it.
    pub fn is_users(&self) -> bool {
        self.rights.users
    }

    /// Whether every entry on the way lets it be executed.
    pub fn is_executable(&self) -> bool {
        self.rights.executable
    }
}

/// The addresses of a guest, as a vCPU's control registers have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressSpace {
    registers: ControlRegisters,
}

impl AddressSpace {
    /// That of these registers.
    pub fn new(registers: ControlRegisters) -> Self {
        Self { registers }
    }

    /// How addresses are translated.
    pub fn mode(&self) -> PagingMode {
        PagingMode::of(&self.registers)
    }

    /// Where `gva`, a linear address, leads.
    ///
    /// # Errors
    ///
    /// [`PageFault`], but none about who may do what.
    pub fn walk(&self, memory: &dyn CopyGuestMemory, gva: u64) -> Result<Page, PageFault> {
        let mode = self.mode();
        if !mode.has_address(gva) {
            return Err(PageFault::NoSuchAddress);
        }
        let Some(mut table) = mode.root(self.registers.cr3) else {
            return Ok(Page {
                gpa: Gpa::new(gva),
                size: 1 << mode.shift(Level::Table),
                rights: Rights::ALL,
            });
        };
        let mut rights = Rights::ALL;
        for level in mode.upper_levels().iter().copied() {
            let entry = self.read_entry(memory, table, level, gva)?;
            rights = rights.and(entry.rights());
            if entry.is_large() {
                return Ok(entry.page(gva, rights));
            }
            table = entry.table();
        }
        let entry = self.read_entry(memory, table, Level::Table, gva)?;
        Ok(entry.page(gva, rights.and(entry.rights())))
    }

    /// The checked entry for `gva` in the table of `level` that stands at `table`.
    fn read_entry(
        &self,
        memory: &dyn CopyGuestMemory,
        table: u64,
        level: Level,
        gva: u64,
    ) -> Result<Entry, PageFault> {
        let mode = self.mode();
        let gpa = Gpa::new(table + mode.entry_offset(level, gva));
        let mut bytes = [0; 8];
        memory
            .read(gpa, &mut bytes[..mode.entry_bytes()])
            .map_err(|_| PageFault::TableOutsideMemory { level, gpa })?;
        Entry::check(u64::from_le_bytes(bytes), level, mode, &self.registers)
    }

    /// Whether the processor would let somebody at `cpl` do this with `page`.
    ///
    /// Protection keys and the prevention of supervisor access (SMAP) are not looked at: they
    /// guard somebody from himself, and the call says that the access is meant.
    ///
    /// # Errors
    ///
    /// [`PageFault::SupervisorOnly`], [`PageFault::ReadOnly`].
    pub fn check(&self, page: &Page, cpl: Cpl, access: Access) -> Result<(), PageFault> {
        let is_user = cpl.get() == USER;
        if is_user && !page.is_users() {
            return Err(PageFault::SupervisorOnly);
        }
        let is_bound = is_user || self.registers.cr0 & WRITE_PROTECT != 0;
        if access == Access::Write && is_bound && !page.is_writable() {
            return Err(PageFault::ReadOnly);
        }
        Ok(())
    }
}
