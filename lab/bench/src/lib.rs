// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the program `hcall-bench` and the criterion benchmarks share.

pub mod replay;
