// SPDX-License-Identifier: MIT OR Apache-2.0
//! Limits that leave no room.

use crate::command::{expect_refusal, hcall_vmm};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// An image that can be opened; what is missing is missed before it is looked at.
const IMAGE: &str = env!("CARGO_BIN_EXE_hcall-vmm");
const MEBIBYTE: u64 = 1 << 20;

/// The command with at most `most` of a resource.
fn limited(resource: libc::__rlimit_resource_t, most: u64) -> Command {
    let mut command = hcall_vmm(&["run", IMAGE]);
    let limit = libc::rlimit {
        rlim_cur: most,
        rlim_max: most,
    };
    let set = move || {
        // SAFETY: `limit` is read.
        match unsafe { libc::setrlimit(resource, &raw const limit) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec it makes one system call, and allocates nothing.
    unsafe { command.pre_exec(set) };
    command
}

#[test]
fn no_address_space_for_the_guest() {
    let reason = "give the guest less with --memory";
    expect_refusal(limited(libc::RLIMIT_AS, 200 * MEBIBYTE), reason);
}

/// Standard error is closed as well: nothing can be said, and the status still is.
#[test]
fn closed_standard_descriptors() {
    let mut command = hcall_vmm(&["run", "/no/such/file"]);
    let close = || {
        // SAFETY: the child's, and used by nothing of it.
        unsafe { (libc::close(0), libc::close(1), libc::close(2)) };
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls, and allocates nothing.
    unsafe { command.pre_exec(close) };
    let status = command.status().expect("the command starts");
    assert_eq!(status.code(), Some(hcall_vmm::cli::STATUS_VMM.into()));
}
