// SPDX-License-Identifier: MIT OR Apache-2.0
//! Doors to private parts, for the fuzz targets in `fuzz/`. No part of the API: whatever
//! stands here may be gone with the next commit.

use crate::cli;
use crate::vmm::{self, VcpuCount, VmError};
use std::ffi::OsString;
use std::path::Path;
use vm_memory::GuestMemoryMmap;

pub use crate::ring::InlineRing;

/// Where a guest begins: rip, rax, rbx and rsi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Where its first instruction is.
    pub rip: u64,
    /// What the register holds.
    pub rax: u64,
    /// What the register holds.
    pub rbx: u64,
    /// What the register holds.
    pub rsi: u64,
}

/// Puts a guest into `memory` as `hcall-vmm run` does.
///
/// # Errors
///
/// As its.
pub fn load(
    memory: &GuestMemoryMmap,
    kernel: &Path,
    initrd: Option<&Path>,
    command_line: &str,
    vcpus: VcpuCount,
) -> Result<Start, VmError> {
    let guest = vmm::Guest {
        kernel,
        initrd,
        command_line,
        vcpus,
    };
    let entry = vmm::load(memory, guest)?;
    Ok(Start {
        rip: entry.rip.get(),
        rax: entry.rax,
        rbx: entry.rbx,
        rsi: entry.rsi,
    })
}

/// QEMU's arguments as `hcall-vmm`'s own; others unchanged.
///
/// # Errors
///
/// What is wrong with them.
pub fn translate_command_line(arguments: Vec<OsString>) -> Result<Vec<OsString>, String> {
    cli::translate_command_line(arguments)
}

/// The same, and then read as the program does.
///
/// # Errors
///
/// What is wrong with them.
pub fn read_command_line(arguments: Vec<OsString>) -> Result<Vec<OsString>, String> {
    cli::read_command_line(arguments)
}
