// SPDX-License-Identifier: MIT OR Apache-2.0
//! What several of the test unikernels need.
#![no_std]

pub mod descend;
pub mod gate;
pub mod stream;
