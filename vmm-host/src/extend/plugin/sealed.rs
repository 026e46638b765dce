// SPDX-License-Identifier: MIT OR Apache-2.0
//! The copy of a plugin's file that nobody can change any more, so that what was checked is
//! what is loaded, and stays so.

use super::error::PluginFault;
use rustix::fs::{fcntl_add_seals, fstat, memfd_create, FileType, MemfdFlags, SealFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

/// The largest plugin in bytes: several times one with all of its debugging information.
pub(super) const SIZE_LIMIT: u64 = 256 << 20;

/// Longest name of such a file for the kernel, which also shows it in `/proc/PID/maps`.
const NAME_LIMIT: usize = 200;

/// All of a file that can be a plugin's.
pub(super) fn read(file: &File) -> Result<Vec<u8>, PluginFault> {
    // Not the standard library's `metadata`: it makes a system call that a thread which loads
    // plugins into a confined VMM does not have.
    let status = fstat(file).map_err(|error| PluginFault::Read(error.into()))?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err(PluginFault::NotAFile);
    }
    if u64::try_from(status.st_size).is_ok_and(|size| size > SIZE_LIMIT) {
        return Err(PluginFault::TooLarge);
    }
    let mut bytes = Vec::new();
    // It may grow while it is read.
    file.take(SIZE_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(PluginFault::Read)?;
    if bytes.len() as u64 > SIZE_LIMIT {
        return Err(PluginFault::TooLarge);
    }
    Ok(bytes)
}

/// A file in memory with this content, for ever.
pub(super) fn copy(bytes: &[u8], name: &str) -> std::io::Result<OwnedFd> {
    let name: String = name
        .chars()
        .filter(|character| *character != '\0')
        .take(NAME_LIMIT / char::MAX.len_utf8())
        .collect();
    let mut file = File::from(create(&name)?);
    file.write_all(bytes)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}

/// Executable, which has to be said since Linux 6.3, and could not before.
fn create(name: &str) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match memfd_create(name, flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => memfd_create(name, flags),
        other => other,
    }
}
