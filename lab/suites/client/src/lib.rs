// SPDX-License-Identifier: MIT OR Apache-2.0
//! The client suite: one list of cases for every client of `/dev/hcall` that the project
//! has. A client is a program that runs the case which its one argument names, exits with 0
//! if it passes, and says in one line what was wrong otherwise.
#![forbid(unsafe_code)]

/// What every client must pass.
pub const CASES: [&str; 18] = [
    "missing-node",
    "another-device",
    "info",
    "probe",
    "every-arity",
    "extreme-arguments",
    "errno-of-the-host",
    "unknown-number",
    "forbidden-numbers",
    "host-reads",
    "host-writes",
    "long-buffer",
    "console-write",
    "batch",
    "batch-stops",
    "batch-refused",
    "restriction",
    "inherited-restriction",
];

/// What only a client can try that is free to pass nonsense: those in C, since the types
/// of the one in Rust do not let it.
pub const UNCHECKED_CASES: [&str; 3] = ["reserved-bits", "unknown-requests", "no-memory"];
