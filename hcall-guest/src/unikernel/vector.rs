// SPDX-License-Identifier: MIT OR Apache-2.0
//! The names of the exceptions.

/// What the exception of `vector` is called.
pub(super) const fn name(vector: u64) -> &'static str {
    match vector {
        0 => "#DE, divide error",
        1 => "#DB, debug",
        2 => "NMI",
        3 => "#BP, breakpoint",
        6 => "#UD, invalid opcode",
        8 => "#DF, double fault",
        12 => "#SS, stack fault",
        13 => "#GP, general protection",
        14 => "#PF, page fault",
        _ => "exception",
    }
}
