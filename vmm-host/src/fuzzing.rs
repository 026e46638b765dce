// SPDX-License-Identifier: MIT OR Apache-2.0
//! Doors to private parts, for the fuzz targets in `fuzz/`. No part of the API: whatever
//! stands here may be gone with the next commit.

use crate::extend::control::{doors, ControlService};
use crate::vmm::{self, VcpuCount, VmError};
use crate::{cli, extend};
use hcall_plugin::abi::PluginDescriptor;
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

/// Whether a file can be given to the dynamic linker as a plugin.
///
/// # Errors
///
/// Why it cannot.
pub fn check_plugin_file(bytes: &[u8]) -> Result<(), String> {
    extend::plugin::check_file(bytes).map_err(|error| error.to_string())
}

/// The numbers that a plugin's descriptor has handlers for.
///
/// # Safety
///
/// As many bytes are there as the descriptor says, its pointers are null or point to what it
/// says, and its texts end.
///
/// # Errors
///
/// What is wrong with it.
pub unsafe fn read_plugin_descriptor(
    descriptor: *const PluginDescriptor,
) -> Result<Vec<u32>, String> {
    // SAFETY: the caller's promise.
    unsafe { extend::plugin::read_descriptor(descriptor) }.map_err(|error| error.to_string())
}

/// What the control socket answers to a line with which no descriptor came.
pub fn answer_control_line(service: &ControlService, line: &[u8]) -> String {
    doors::answer(service, line)
}

/// What it answers to a request by HTTP.
pub fn answer_control_http(service: &ControlService, head: &[u8]) -> Vec<u8> {
    doors::answer_http(service, head)
}

/// Whether an answer says that it was done; `None` if it is no answer.
pub fn is_control_success(answer: &[u8]) -> Option<bool> {
    doors::is_success(answer)
}
