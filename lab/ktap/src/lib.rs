// SPDX-License-Identifier: MIT OR Apache-2.0
//! KTAP, the kernel's test protocol, in both directions.
//!
//! * [`Suite`] runs test cases and writes their results as KTAP: what a test program in a
//!   guest (or on the host) uses as its `main`.
//! * [`Report`] is what was reported. [`Report::parse`] finds it in the console output of
//!   a machine, among kernel messages and whatever else was printed there, and is strict:
//!   a suite that died half-way, left numbers out or never started is a failure.
//!
//! The protocol: `Documentation/dev-tools/ktap.rst` of the Linux kernel.
//!
//! # Example
//!
//! ```
//! use hcall_ktap::{Suite, Verdict};
//!
//! # fn main() -> std::process::ExitCode {
//! Suite::new("arithmetic")
//!     .case("adds", || {
//!         let sum = 2 + 40;
//!         if sum != 42 {
//!             return Err(format!("2 + 40 = {sum}"));
//!         }
//!         Ok(Verdict::Pass)
//!     })
//!     .case("divides", || Ok(Verdict::Skip("no divider on this machine".into())))
//!     .run()
//! # }
//! ```
#![forbid(unsafe_code)]

mod line;
mod parse;
mod report;
mod suite;

pub use parse::Parser;
pub use report::{Outcome, Report, Tally, TestReport};
pub use suite::{CaseResult, Suite, Verdict};
