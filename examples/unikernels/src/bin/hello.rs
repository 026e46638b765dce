// SPDX-License-Identifier: MIT OR Apache-2.0
//! The smallest unikernel that links the SDK.
#![no_std]
#![no_main]

use hcall_guest::unikernel::{entry, println};

entry!(main);

fn main() {
    println!("hello from a unikernel");
}
