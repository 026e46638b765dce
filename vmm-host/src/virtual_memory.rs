// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guest memory by guest-virtual address, with the rights of whoever called.

use crate::memory::{CopyGuestMemory, OutsideMemory};
use crate::paging::{Access, AddressSpace, Page, PageFault};
use crate::vcpu::Cpl;
use hcall_abi::Gpa;
use std::fmt;

/// The memory of a guest as its code at one privilege level sees it, by the vCPU's page
/// tables. Addresses are linear: with the base of their segment, where that is not 0.
///
/// No accessed and no dirty bit is set: a guest that takes a page without the latter for
/// unchanged has to know of the write, as with a device's.
///
/// # Examples
///
/// ```
/// use hcall_vmm::hypercall::Cpl;
/// use hcall_vmm::memory::VirtualMemory;
/// use hcall_vmm::paging::{AddressSpace, ControlRegisters, PageFault};
/// use vm_memory::{GuestAddress, GuestMemoryMmap};
///
/// let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 0x2000)])?;
/// // Protected mode without paging; a handler has it by `Hypercall::virtual_memory`.
/// let space = AddressSpace::new(ControlRegisters { cr0: 1, ..Default::default() });
/// let visible = VirtualMemory::new(&memory, space, Cpl::KERNEL);
/// visible.write(0xffe, b"word")?;
/// let mut word = [0; 4];
/// visible.read(0xffe, &mut word)?;
/// assert_eq!(&word, b"word");
/// assert!(matches!(visible.write(0x1ffe, b"word"), Err(PageFault::OutsideMemory(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct VirtualMemory<'call> {
    memory: &'call dyn CopyGuestMemory,
    space: AddressSpace,
    cpl: Cpl,
}

impl<'call> VirtualMemory<'call> {
    /// What code at `cpl` sees of `memory` in `space`.
    pub fn new(memory: &'call dyn CopyGuestMemory, space: AddressSpace, cpl: Cpl) -> Self {
        Self { memory, space, cpl }
    }

    /// The address space.
    pub fn space(&self) -> AddressSpace {
        self.space
    }

    /// Where `gva` leads, whoever may use it.
    ///
    /// # Errors
    ///
    /// [`PageFault`].
    pub fn walk(&self, gva: u64) -> Result<Page, PageFault> {
        self.space.walk(self.memory, gva)
    }

    /// Fills `bytes` from `gva` on, over as many pages as it takes.
    ///
    /// # Errors
    ///
    /// [`PageFault`] of the first page that cannot be read; `bytes` before it are filled.
    pub fn read(&self, gva: u64, bytes: &mut [u8]) -> Result<(), PageFault> {
        let mut done = 0;
        while done < bytes.len() {
            let piece = self.piece(gva, done, bytes.len(), Access::Read)?;
            let end = done + piece.length;
            self.memory.read(piece.gpa, &mut bytes[done..end])?;
            done = end;
        }
        Ok(())
    }

    /// Copies `bytes` to `gva` and on, over as many pages as it takes: all or, on an error,
    /// nothing. What was found of the pages is what is written to, whatever becomes of the
    /// tables meanwhile.
    ///
    /// # Errors
    ///
    /// [`PageFault`] of the first page that cannot be written.
    pub fn write(&self, gva: u64, bytes: &[u8]) -> Result<(), PageFault> {
        let mut pieces = Vec::new();
        let mut found = 0;
        while found < bytes.len() {
            let piece = self.piece(gva, found, bytes.len(), Access::Write)?;
            found += piece.length;
            pieces.push(piece);
        }
        let mut rest = bytes;
        for piece in pieces {
            let (now, later) = rest.split_at(piece.length);
            self.memory.write(piece.gpa, now)?;
            rest = later;
        }
        Ok(())
    }

    /// What of `length` bytes at `gva`, `done` of which are done, lies in one page; all of it
    /// memory, and for the caller to use so.
    fn piece(
        &self,
        gva: u64,
        done: usize,
        length: usize,
        access: Access,
    ) -> Result<Piece, PageFault> {
        let next = gva.checked_add(done as u64);
        let page = self.walk(next.ok_or(PageFault::NoSuchAddress)?)?;
        self.space.check(&page, self.cpl, access)?;
        let remaining = usize::try_from(page.remaining()).unwrap_or(usize::MAX);
        let piece = Piece {
            gpa: page.gpa(),
            length: remaining.min(length - done),
        };
        if !self.memory.contains(piece.gpa, piece.length) {
            let Piece { gpa, length } = piece;
            return Err(OutsideMemory { gpa, length }.into());
        }
        Ok(piece)
    }
}

/// A part of a buffer, in one page.
struct Piece {
    gpa: Gpa,
    length: usize,
}

impl fmt::Debug for VirtualMemory<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("VirtualMemory")
            .field("space", &self.space)
            .field("cpl", &self.cpl)
            .finish_non_exhaustive()
    }
}
