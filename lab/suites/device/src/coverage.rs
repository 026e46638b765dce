// SPDX-License-Identifier: MIT OR Apache-2.0
//! What of the module was executed since the machine started, collected by `lab/coverage`:
//! one line on the console, for the lab's driver.

use crate::failure::{Check, Failure};
use std::fs;

const FILE: &str = "/sys/kernel/debug/lab_coverage";

/// Says it.
pub(crate) fn say() -> Check {
    let counters =
        fs::read_to_string(FILE).map_err(|error| Failure::new(format!("{FILE}: {error}")))?;
    println!("lab-coverage: {}", counters.trim_end());
    Ok(())
}
