// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tracepoint as `perf stat` uses it: a counter of this process's calls.

use crate::failure::Failure;
use crate::tracefs::{EVENT, TRACEFS};
use std::fs::File;
use std::io::Read;
use std::os::fd::FromRawFd;
use std::path::Path;

/// `PERF_TYPE_TRACEPOINT`.
const TRACEPOINT: u32 = 2;

/// The first version of `struct perf_event_attr`; the fields that are not named stay zero.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    others: [u64; 6],
}

/// A counter that runs from now on.
#[derive(Debug)]
pub(crate) struct Counter(File);

impl Counter {
    pub(crate) fn start() -> Result<Self, Failure> {
        let id = std::fs::read_to_string(Path::new(TRACEFS).join(EVENT).join("id"))?;
        let attributes = Attributes {
            kind: TRACEPOINT,
            size: size_of::<Attributes>() as u32,
            config: id.trim().parse()?,
            ..Attributes::default()
        };
        // SAFETY: the structure is read only, of the size that it says; this process, on
        // every processor, in no group.
        let file = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attributes,
                0_i32,
                -1_i32,
                -1_i32,
                0_u64,
            )
        };
        if file < 0 {
            let error = std::io::Error::last_os_error();
            return Err(Failure::new(format!("perf_event_open: {error}")));
        }
        // SAFETY: the kernel has just made the descriptor, and nobody else has it.
        Ok(Self(unsafe { File::from_raw_fd(file as i32) }))
    }

    pub(crate) fn count(&mut self) -> Result<u64, Failure> {
        let mut count = [0; 8];
        self.0.read_exact(&mut count)?;
        Ok(u64::from_ne_bytes(count))
    }
}
