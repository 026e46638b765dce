// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files in memory, for what takes paths.

use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

/// A file that has a path and is on no disk.
#[derive(Debug)]
pub(crate) struct MemoryFile {
    descriptor: OwnedFd,
    pub(crate) path: PathBuf,
}

impl MemoryFile {
    pub(crate) fn new() -> Self {
        let descriptor =
            memfd_create("image", MemfdFlags::CLOEXEC).expect("a file in memory can be made");
        let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd()).into();
        Self { descriptor, path }
    }

    /// Has it hold `bytes` and nothing else.
    pub(crate) fn fill(&self, bytes: &[u8]) {
        ftruncate(&self.descriptor, 0).expect("a file in memory can be emptied");
        let written = rustix::io::pwrite(&self.descriptor, bytes, 0);
        assert_eq!(
            written,
            Ok(bytes.len()),
            "a file in memory takes everything"
        );
    }
}
