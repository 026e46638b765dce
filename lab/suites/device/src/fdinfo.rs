// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the module shows of an open file in `/proc/self/fdinfo`.

use crate::failure::Failure;
use std::os::fd::{AsFd, AsRawFd};

/// How many calls through this file policy has refused.
pub(crate) fn refused(file: impl AsFd) -> Result<u64, Failure> {
    let path = format!("/proc/self/fdinfo/{}", file.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(&path)?;
    let count = text
        .lines()
        .find_map(|line| line.strip_prefix("hcall-refused:"))
        .ok_or_else(|| Failure::new(format!("{path} has no line hcall-refused:\n{text}")))?;
    Ok(count.trim().parse()?)
}
