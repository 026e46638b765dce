// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is to be copied where, by the ELF headers or by the Multiboot header, and where
//! the guest begins.

use super::header::{Addresses, Header};
use super::{MultibootError, HIGH_MEMORY_START};
use elf::abi::{EM_386, EM_X86_64, PF_X, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::{parse_ident, Class, FileHeader};
use elf::segment::{ProgramHeader, SegmentTable};
use std::fs::File;
use std::os::unix::fs::FileExt;

const ELF_MAGIC: &[u8; 4] = b"\x7fELF";
/// Where the class stands in an ELF header, and what precedes the part that depends on it.
const CLASS_INDEX: usize = 4;
const CLASS_32: u8 = 1;
const IDENT_LENGTH: usize = 16;
/// Lengths of the file header and of a program header, by class.
const HEADER_LENGTHS_32: (usize, u16) = (52, 32);
const HEADER_LENGTHS_64: (usize, u16) = (64, 56);

/// A piece of guest memory: some bytes of the file, and zeros up to its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) offset: u64,
    pub(super) file_length: u64,
    pub(super) start: u64,
    pub(super) length: u64,
}

/// What the file says; to be believed after [`Image::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) parts: Vec<Part>,
    pub(super) entry: u64,
}

impl Image {
    /// Reads the headers of `file`, which has `length` bytes.
    pub(super) fn read(file: &File, length: u64, header: Header) -> Result<Self, MultibootError> {
        header.check_flags()?;
        match header.addresses() {
            Some(addresses) => Self::flat(addresses, header.offset, length),
            None => Self::elf(file),
        }
    }

    fn flat(addresses: Addresses, header_offset: u64, length: u64) -> Result<Self, MultibootError> {
        let [header, load, load_end, bss_end, entry] = [
            addresses.header,
            addresses.load,
            addresses.load_end,
            addresses.bss_end,
            addresses.entry,
        ]
        .map(u64::from);
        let before = header.checked_sub(load);
        let offset = before
            .and_then(|before| header_offset.checked_sub(before))
            .ok_or(MultibootError::Addresses)?;
        // Zero: up to the file's end, and nothing after it.
        let end = match load_end {
            0 => load + (length - offset.min(length)),
            end => end,
        };
        let zero_end = if bss_end == 0 { end } else { bss_end };
        let file_length = end.checked_sub(load).ok_or(MultibootError::Addresses)?;
        if zero_end < end {
            return Err(MultibootError::Addresses);
        }
        let part = Part {
            offset,
            file_length,
            start: load,
            length: zero_end - load,
        };
        Ok(Self {
            parts: vec![part],
            entry,
        })
    }

    fn elf(file: &File) -> Result<Self, MultibootError> {
        let mut start = [0; HEADER_LENGTHS_64.0];
        let read = file
            .read_at(&mut start, 0)
            .map_err(|_| MultibootError::Elf)?;
        if read < ELF_MAGIC.len() || !start.starts_with(ELF_MAGIC) {
            return Err(MultibootError::Nowhere);
        }
        let (header_length, entry_length) = match start[CLASS_INDEX] {
            CLASS_32 => HEADER_LENGTHS_32,
            _ => HEADER_LENGTHS_64,
        };
        let broken = |_| MultibootError::Elf;
        let ident = parse_ident::<LittleEndian>(&start[..read]).map_err(broken)?;
        let tail = start[..read]
            .get(IDENT_LENGTH..header_length)
            .ok_or(MultibootError::Elf)?;
        let header = FileHeader::parse_tail(ident, tail).map_err(broken)?;
        let is_x86 = [EM_386, EM_X86_64].contains(&header.e_machine);
        if !is_x86 || header.e_phentsize != entry_length {
            return Err(MultibootError::Elf);
        }
        let segments = read_segments(file, &header)?;
        let entry = physical_entry(&segments, header.e_entry);
        let parts = segments.iter().map(part).collect();
        Ok(Self { parts, entry })
    }

    /// Fails unless every part is in a file of `length` bytes, and in guest memory between
    /// the boot structures and `memory_end`, no two of them share an address, and the guest
    /// begins in one of them.
    pub(super) fn check(&self, length: u64, memory_end: u64) -> Result<(), MultibootError> {
        for part in &self.parts {
            part.check(length, memory_end)?;
        }
        let mut ranges: Vec<(u64, u64)> = self.parts.iter().map(Part::range).collect();
        ranges.sort_unstable();
        if let Some(pair) = ranges.windows(2).find(|pair| pair[0].1 > pair[1].0) {
            return Err(MultibootError::Overlap(pair[1].0));
        }
        if self.parts.iter().any(|part| part.contains(self.entry)) {
            Ok(())
        } else {
            Err(MultibootError::Entry(self.entry))
        }
    }

    /// The address after the last part; to be asked after [`Image::check`].
    pub(super) fn end(&self) -> u64 {
        let ends = self.parts.iter().map(|part| part.range().1);
        ends.max().unwrap_or(0)
    }
}

impl Part {
    fn check(&self, file_length: u64, memory_end: u64) -> Result<(), MultibootError> {
        let in_file = self
            .offset
            .checked_add(self.file_length)
            .is_some_and(|end| end <= file_length);
        if !in_file {
            return Err(MultibootError::BeyondFile {
                offset: self.offset,
                length: self.file_length,
            });
        }
        let in_memory = self
            .start
            .checked_add(self.length)
            .is_some_and(|end| end <= memory_end);
        if !in_memory || self.start < HIGH_MEMORY_START.0 || self.file_length > self.length {
            return Err(MultibootError::BeyondMemory {
                start: self.start,
                length: self.length.max(self.file_length),
                end: memory_end,
            });
        }
        Ok(())
    }

    /// Its first address, and the one after its last.
    fn range(&self) -> (u64, u64) {
        (self.start, self.start.saturating_add(self.length))
    }

    fn contains(&self, address: u64) -> bool {
        let (start, end) = self.range();
        (start..end).contains(&address)
    }
}

/// The segments that are to be loaded.
fn read_segments(
    file: &File,
    header: &FileHeader<LittleEndian>,
) -> Result<Vec<ProgramHeader>, MultibootError> {
    let length = usize::from(header.e_phnum) * usize::from(header.e_phentsize);
    let mut table = vec![0; length];
    file.read_exact_at(&mut table, header.e_phoff)
        .map_err(|_| MultibootError::Elf)?;
    let class: Class = header.class;
    let segments = SegmentTable::new(LittleEndian, class, &table)
        .iter()
        .filter(|segment| segment.p_type == PT_LOAD && segment.p_memsz > 0)
        .collect();
    Ok(segments)
}

fn part(segment: &ProgramHeader) -> Part {
    Part {
        offset: segment.p_offset,
        file_length: segment.p_filesz,
        start: segment.p_paddr,
        length: segment.p_memsz,
    }
}

/// The entry point where it is loaded: in ELF headers it is a virtual address.
fn physical_entry(segments: &[ProgramHeader], entry: u64) -> u64 {
    let holds = |segment: &&ProgramHeader| {
        let end = segment.p_vaddr.saturating_add(segment.p_memsz);
        segment.p_flags & PF_X != 0 && (segment.p_vaddr..end).contains(&entry)
    };
    match segments.iter().find(holds) {
        Some(segment) => segment.p_paddr.wrapping_add(entry - segment.p_vaddr),
        None => entry,
    }
}
