// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands that start with less than others.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What a process can have less of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    /// Bytes of address space (RLIMIT_AS).
    AddressSpace,
    /// Open descriptors (RLIMIT_NOFILE).
    Descriptors,
}

/// Has `command` start with at most `most` of `resource`.
pub(crate) fn limit(command: &mut Command, resource: Resource, most: u64) {
    let resource = match resource {
        Resource::AddressSpace => libc::RLIMIT_AS,
        Resource::Descriptors => libc::RLIMIT_NOFILE,
    };
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
}

/// Has `command` start without standard input and output.
pub(crate) fn without_standard_descriptors(command: &mut Command) {
    let close = || {
        // SAFETY: the child's, and used by nothing of it.
        unsafe { (libc::close(0), libc::close(1)) };
        Ok(())
    };
    // SAFETY: as above.
    unsafe { command.pre_exec(close) };
}
