// SPDX-License-Identifier: MIT OR Apache-2.0
//! Multiboot images: 32-bit and 64-bit ELF, and flat ones that carry their addresses
//! (Multiboot specification 0.6.96). All of them begin in 32-bit protected mode.
//!
//! The file is anybody's: what it says of places and sizes is checked against the file
//! and against guest memory before anything is copied.

mod header;
mod image;
mod information;

pub(super) use header::{find, Header};

use super::{
    load_initrd, low_memory_size, unreadable, usable_ranges, Entry, Guest, LoadError, COMMAND_LINE,
    COMMAND_LINE_SIZE, HIGH_MEMORY_START,
};
use hcall_abi::Gpa;
use image::{Image, Part};
use information::{Information, Module, LOADER_MAGIC};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Bytes that are copied at a time.
const CHUNK: usize = 1 << 20;

/// Why a Multiboot image cannot be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MultibootError {
    /// The header's flags require what there is none of.
    #[error("its header requires {what} (flag bit {bit}), which this VMM does not have")]
    Requires {
        /// The bit of the flags.
        bit: u32,
        /// What it stands for.
        what: &'static str,
    },
    /// Neither kind of image.
    #[error(
        "it is no ELF file, and its header gives no load addresses (flag bit 16): nothing says \
         where it belongs"
    )]
    Nowhere,
    /// The ELF headers are broken, or not those of a program for x86.
    #[error("its ELF headers are damaged, or it is no program for x86")]
    Elf,
    /// The header's load addresses contradict each other or the file.
    #[error("the load addresses in its header contradict each other, or the file")]
    Addresses,
    /// Something is to be loaded that the file does not hold.
    #[error("{length:#x} bytes are to be loaded from offset {offset:#x}, beyond the file's end: it is damaged")]
    BeyondFile {
        /// Where they would begin in the file.
        offset: u64,
        /// How many.
        length: u64,
    },
    /// Something is to be loaded where there is no memory, or where the boot structures are.
    #[error(
        "{length:#x} bytes are to be loaded to {start:#x}, outside of guest memory from 1 MiB \
         to {end:#x}; give the guest more with --memory, or link it elsewhere"
    )]
    BeyondMemory {
        /// Their address.
        start: u64,
        /// How many.
        length: u64,
        /// End of the memory that can be loaded to.
        end: u64,
    },
    /// Two segments share an address.
    #[error("two of its segments are to be loaded to {0:#x}")]
    Overlap(u64),
    /// The entry point is outside of what was loaded.
    #[error("its entry point {0:#x} is outside of what is loaded")]
    Entry(u64),
    /// The module's path is too long for the place it goes to.
    #[error("the path of the module is too long to be its string")]
    ModuleString,
}

/// Loads the image that `header` was found in.
pub(super) fn load(
    memory: &GuestMemoryMmap,
    file: &File,
    header: Header,
    guest: Guest<'_>,
) -> Result<Entry, LoadError> {
    let refused = |source| LoadError::Multiboot {
        path: guest.kernel.into(),
        source,
    };
    let length = file.metadata().map_err(unreadable(guest.kernel))?.len();
    let image = Image::read(file, length, header).map_err(refused)?;
    let end = low_memory_size(memory);
    image.check(length, end).map_err(refused)?;
    for part in &image.parts {
        copy(memory, file, *part, guest.kernel)?;
    }
    let module = guest
        .initrd
        .map(|path| load_module(memory, path, image.end()))
        .transpose()?;
    if let Some(module) = &module {
        if module.string.len() > information::MODULE_STRING_MAX {
            return Err(refused(MultibootError::ModuleString));
        }
    }
    Information {
        command_line: COMMAND_LINE,
        module,
        low_memory_end: end,
        memory_map: usable_ranges(memory),
    }
    .write(memory)
    .map_err(|_| LoadError::BootStructures)?;
    write_command_line(memory, guest)?;
    Ok(Entry {
        rip: Gpa::new(image.entry),
        rax: LOADER_MAGIC.into(),
        rbx: information::ADDRESS.0,
        rsi: 0,
    })
}

fn copy(memory: &GuestMemoryMmap, file: &File, part: Part, path: &Path) -> Result<(), LoadError> {
    let mut chunk = vec![0; part.file_length.min(CHUNK as u64) as usize];
    let mut done = 0;
    while done < part.file_length {
        let length = (part.file_length - done).min(CHUNK as u64) as usize;
        let bytes = &mut chunk[..length];
        file.read_exact_at(bytes, part.offset + done)
            .map_err(unreadable(path))?;
        memory
            .write_slice(bytes, GuestAddress(part.start + done))
            .map_err(|_| LoadError::BootStructures)?;
        done += length as u64;
    }
    Ok(())
}

fn load_module(memory: &GuestMemoryMmap, path: &Path, floor: u64) -> Result<Module, LoadError> {
    let floor = floor.max(HIGH_MEMORY_START.0);
    let initrd = load_initrd(memory, path, floor, u64::MAX)?;
    Ok(Module {
        start: initrd.start,
        length: initrd.length,
        string: path.as_os_str().as_bytes().into(),
    })
}

/// The command line begins with the image's name, as Multiboot guests expect.
fn write_command_line(memory: &GuestMemoryMmap, guest: Guest<'_>) -> Result<(), LoadError> {
    let mut line = guest.kernel.as_os_str().as_bytes().to_vec();
    line.push(b' ');
    line.extend_from_slice(guest.command_line.as_bytes());
    line.push(0);
    if line.len() > COMMAND_LINE_SIZE {
        return Err(LoadError::CommandLine);
    }
    memory
        .write_slice(&line, COMMAND_LINE)
        .map_err(|_| LoadError::BootStructures)
}

#[cfg(test)]
mod tests;
