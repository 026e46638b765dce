// SPDX-License-Identifier: MIT OR Apache-2.0
//! What passes while calls are made: time, or instructions where the time-stamp counter
//! counts them, those of the guest and of the kernel included.

use hcall_measurement::Unit;
use std::arch::x86_64::{_mm_lfence, _rdtsc};
use std::time::Instant;

/// What a loop is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meter {
    Time,
    Instructions,
}

impl Meter {
    pub(super) fn unit(self) -> Unit {
        match self {
            Self::Time => Unit::Microseconds,
            Self::Instructions => Unit::Instructions,
        }
    }

    /// What passes while `make_calls` runs.
    #[inline]
    pub(super) fn measure(
        self,
        make_calls: impl FnOnce() -> Result<(), String>,
    ) -> Result<f64, String> {
        match self {
            Self::Time => {
                let start = Instant::now();
                make_calls()?;
                Ok(start.elapsed().as_secs_f64() * 1e6)
            }
            Self::Instructions => {
                let start = counter();
                make_calls()?;
                Ok(counter().wrapping_sub(start) as f64)
            }
        }
    }
}

/// The time-stamp counter, after everything before.
fn counter() -> u64 {
    // SAFETY: every processor of 64 bits has both instructions.
    unsafe {
        _mm_lfence();
        _rdtsc()
    }
}
