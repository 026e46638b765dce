// SPDX-License-Identifier: MIT OR Apache-2.0
//! The first hypercall of a unikernel: three parameters to a handler of one's own.
#![no_std]
#![no_main]

use hcall_guest::unikernel::{entry, println};
use hcall_guest::{hcall3, HypercallNumber};

/// The number that the VMM of this example registers its handler under.
const PRINT: HypercallNumber = HypercallNumber::user(0x000);

entry!(main);

fn main() {
    match hcall3(PRINT, 1, 2, 3) {
        Ok(answer) => println!("unikernel: the host answered {answer}"),
        Err(error) => panic!("unikernel: {error}"),
    }
}
