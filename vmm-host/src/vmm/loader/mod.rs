// SPDX-License-Identifier: MIT OR Apache-2.0
//! Putting a guest into memory: what kind of image it is, and where everything goes.
//!
//! | address | what |
//! |---|---|
//! | 0x6000 | PVH start info, its memory map and module list; or the Multiboot information |
//! | 0x7000 | Linux' zero page (bzImage) |
//! | 0x2_0000 | command line |
//! | 0xe_0000 | ACPI tables |
//! | 0xf_fff0 | reset vector |
//! | 0x10_0000 … | the image, where it wants to be |
//! | end of low memory | initramfs or Multiboot module, page-aligned |

mod acpi;
mod bzimage;
mod elf_headers;
mod multiboot;
mod pvh;
mod reset_vector;

use super::config::VcpuCount;
use hcall_abi::Gpa;
use multiboot::MultibootError;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use vm_memory::{Bytes, GuestAddress, GuestMemory, GuestMemoryMmap, GuestMemoryRegion};

const START_INFO: GuestAddress = GuestAddress(0x6000);
const MEMORY_MAP: GuestAddress = GuestAddress(0x6100);
const MODULE_LIST: GuestAddress = GuestAddress(0x6040);
const ZERO_PAGE: GuestAddress = GuestAddress(0x7000);
const COMMAND_LINE: GuestAddress = GuestAddress(0x2_0000);
/// Longest command line with its NUL, in bytes: Linux' COMMAND_LINE_SIZE on x86.
const COMMAND_LINE_SIZE: usize = 2048;
/// End of the memory below the legacy hole of PCs.
const LOW_MEMORY_END: u64 = 0x9_fc00;
/// Start of the memory above it.
const HIGH_MEMORY_START: GuestAddress = GuestAddress(0x10_0000);
const PAGE_SIZE: u64 = 4096;

/// What a guest consists of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guest<'config> {
    pub(crate) kernel: &'config Path,
    pub(crate) initrd: Option<&'config Path>,
    pub(crate) command_line: &'config str,
    pub(crate) vcpus: VcpuCount,
}

/// Where the vCPU begins, in 32-bit protected mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) rip: Gpa,
    /// Multiboot: the loader's magic.
    pub(crate) rax: u64,
    /// PVH: the start info's address. Multiboot: the information's.
    pub(crate) rbx: u64,
    /// bzImage: the zero page's address.
    pub(crate) rsi: u64,
}

/// An initramfs in guest memory.
#[derive(Clone, Copy, Debug)]
struct Initrd {
    start: GuestAddress,
    length: u64,
}

/// Why a guest could not be put into memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file cannot be opened or read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Neither ELF nor bzImage nor Multiboot.
    #[error("{0} is not a guest: it is neither an ELF file nor a Linux bzImage, and has no Multiboot header")]
    UnknownImage(PathBuf),
    /// ELF without a PVH entry.
    #[error(
        "{0} is an ELF file with neither a PVH note (XEN_ELFNOTE_PHYS32_ENTRY) nor a Multiboot \
         header, so there is no entry point to start it at; link hcall-guest with its feature \
         'unikernel', or build Linux with CONFIG_PVH"
    )]
    NoPvhNote(PathBuf),
    /// ELF headers that would have the loader read for hours.
    #[error(
        "{0} has more ELF program headers, or longer notes, than a guest has any use for: it is \
         damaged"
    )]
    Headers(PathBuf),
    /// A Multiboot image that cannot be loaded.
    #[error("{path} is a Multiboot image that cannot be loaded")]
    Multiboot {
        /// The file.
        path: PathBuf,
        /// Why.
        source: MultibootError,
    },
    /// The loader refused the image.
    #[error("cannot load {path} into {memory} MiB of guest memory; the file is damaged or the guest needs more with --memory")]
    Image {
        /// The file.
        path: PathBuf,
        /// Size of guest memory below the hole in MiB.
        memory: u64,
        /// Why.
        source: linux_loader::loader::Error,
    },
    /// The initramfs does not fit.
    #[error("the initramfs {path} ({length} bytes) does not fit beside the kernel; give the guest more with --memory")]
    InitrdTooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        length: u64,
    },
    /// The command line is too long or holds a NUL.
    #[error("the command line is longer than 2047 bytes or holds a NUL")]
    CommandLine,
    /// The boot structures could not be written.
    #[error("guest memory is too small for the boot structures")]
    BootStructures,
}

/// Loads `guest`.
pub(crate) fn load(memory: &GuestMemoryMmap, guest: Guest<'_>) -> Result<Entry, LoadError> {
    let mut image = open(guest.kernel)?;
    write_command_line(memory, guest.command_line)?;
    acpi::write(memory, guest.vcpus)?;
    reset_vector::write(memory)?;
    match kind(&image) {
        Some(Kind::Multiboot(header)) => multiboot::load(memory, &image, header, guest),
        Some(Kind::Elf) => pvh::load(memory, &mut image, guest),
        Some(Kind::BzImage) => bzimage::load(memory, &mut image, guest),
        None => Err(LoadError::UnknownImage(guest.kernel.into())),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Multiboot(multiboot::Header),
    Elf,
    BzImage,
}

/// The kind by its magic: a Multiboot header wherever it stands, ELF at the start, "HdrS"
/// at 0x202 of a bzImage.
fn kind(image: &File) -> Option<Kind> {
    let has = |magic: &[u8; 4], offset| {
        let mut bytes = [0; 4];
        image.read_exact_at(&mut bytes, offset).is_ok() && bytes == *magic
    };
    if let Some(header) = multiboot::find(image) {
        Some(Kind::Multiboot(header))
    } else if has(b"\x7fELF", 0) {
        Some(Kind::Elf)
    } else if has(b"HdrS", 0x202) {
        Some(Kind::BzImage)
    } else {
        None
    }
}

fn open(path: &Path) -> Result<File, LoadError> {
    // Without waiting: a FIFO that nobody writes to would hold the VMM up for ever.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(unreadable(path))?;
    if !file.metadata().map_err(unreadable(path))?.is_file() {
        return Err(unreadable(path)(std::io::Error::other(
            "not a regular file",
        )));
    }
    Ok(file)
}

fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> LoadError + '_ {
    |source| LoadError::Read {
        path: path.into(),
        source,
    }
}

fn write_command_line(memory: &GuestMemoryMmap, text: &str) -> Result<(), LoadError> {
    if text.len() >= COMMAND_LINE_SIZE || text.contains('\0') {
        return Err(LoadError::CommandLine);
    }
    let bytes = [text.as_bytes(), &[0]].concat();
    memory
        .write_slice(&bytes, COMMAND_LINE)
        .map_err(|_| LoadError::BootStructures)
}

/// Copies the initramfs to the end of low memory, above `floor` and below `ceiling`.
fn load_initrd(
    memory: &GuestMemoryMmap,
    path: &Path,
    floor: u64,
    ceiling: u64,
) -> Result<Initrd, LoadError> {
    let mut file = open(path)?;
    let length = file
        .seek(std::io::SeekFrom::End(0))
        .and_then(|length| file.rewind().map(|()| length))
        .map_err(unreadable(path))?;
    let end = low_memory_size(memory).min(ceiling);
    let start = end
        .checked_sub(length)
        .map(|start| start / PAGE_SIZE * PAGE_SIZE)
        .filter(|start| *start >= floor)
        .ok_or(LoadError::InitrdTooLarge {
            path: path.into(),
            length,
        })?;
    let start = GuestAddress(start);
    let mut rest = length;
    let mut at = start;
    let mut chunk = vec![0; 1 << 20];
    while rest > 0 {
        let part = &mut chunk[..rest.min(1 << 20) as usize];
        file.read_exact(part).map_err(unreadable(path))?;
        memory
            .write_slice(part, at)
            .map_err(|_| LoadError::BootStructures)?;
        at.0 += part.len() as u64;
        rest -= part.len() as u64;
    }
    Ok(Initrd { start, length })
}

/// End of the memory below the hole under 4 GiB.
fn low_memory_size(memory: &GuestMemoryMmap) -> u64 {
    memory.iter().next().map_or(0, GuestMemoryRegion::len)
}

/// The memory map that the guest is given: usable ranges, as (start, length).
fn usable_ranges(memory: &GuestMemoryMmap) -> Vec<(u64, u64)> {
    let mut ranges = vec![(0, LOW_MEMORY_END)];
    for region in memory.iter() {
        let end = region.start_addr().0 + region.len();
        let start = region.start_addr().0.max(HIGH_MEMORY_START.0);
        ranges.push((start, end - start));
    }
    ranges
}
