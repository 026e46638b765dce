// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the module shows of an open file in `/proc/self/fdinfo`.

use crate::failure::Failure;
use std::os::fd::{AsFd, AsRawFd};

/// How many calls through this file policy has refused.
pub(crate) fn refused(file: impl AsFd) -> Result<u64, Failure> {
    Ok(line(file, "hcall-refused:")?.parse()?)
}

/// What the file may call: ranges, `none` or `all`.
pub(crate) fn allowed(file: impl AsFd) -> Result<String, Failure> {
    line(file, "hcall-allowed:")
}

fn line(file: impl AsFd, name: &str) -> Result<String, Failure> {
    let path = format!("/proc/self/fdinfo/{}", file.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(&path)?;
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .map(|value| value.trim().to_owned())
        .ok_or_else(|| Failure::new(format!("{path} has no line {name}\n{text}")))
}
