// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls the handlers of the two examples of plugins, in C and in Rust, and checks what comes
//! back: also where one panics.
#![no_std]
#![no_main]

use hcall_guest::unikernel::{entry, println};
use hcall_guest::{hcall2, Errno, HypercallNumber};

/// Of `examples/plugin-rust`.
const DIVIDE: HypercallNumber = HypercallNumber::user(0x10);
const CAPITALS: HypercallNumber = HypercallNumber::user(0x11);
const CHECKSUM: HypercallNumber = HypercallNumber::user(0x12);
/// Of `examples/plugin-c`.
const ADD: HypercallNumber = HypercallNumber::user(0x20);
const SUM: HypercallNumber = HypercallNumber::user(0x21);

/// An address where there is no memory.
const NOWHERE: u64 = 1 << 40;

entry!(main);

fn main() {
    let mut text = *b"a text of the guest";
    let (gpa, length) = (
        (&raw mut text).expose_provenance() as u64,
        text.len() as u64,
    );
    let sum: u64 = text.iter().map(|byte| u64::from(*byte)).sum();
    assert_eq!(hcall2(ADD, 2, 40), Ok(42));
    assert_eq!(hcall2(SUM, gpa, length), Ok(sum));
    // Answered by a thread of the plugin's own.
    assert_eq!(hcall2(CHECKSUM, gpa, length), Ok(sum));
    assert_eq!(hcall2(CAPITALS, gpa, length), Ok(length));
    assert_eq!(&text, b"A TEXT OF THE GUEST");
    assert_eq!(hcall2(DIVIDE, 84, 2), Ok(42));

    for (number, a, b, due) in [
        (ADD, u64::MAX >> 1, 1, Errno::ERANGE),
        (SUM, gpa, 4097, Errno::EMSGSIZE),
        (SUM, NOWHERE, 1, Errno::EFAULT),
        (CAPITALS, u64::MAX, 1, Errno::EFAULT),
        // The handler panics.
        (DIVIDE, 84, 0, Errno::EIO),
    ] {
        let error = hcall2(number, a, b).expect_err("the handler fails");
        assert_eq!(error.errno(), Some(due), "{number}({a:#x}, {b:#x})");
    }
    assert_eq!(hcall2(DIVIDE, 84, 4), Ok(21));
    println!("plugins answer");
}
