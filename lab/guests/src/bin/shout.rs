// SPDX-License-Identifier: MIT OR Apache-2.0
//! Has texts turned to upper case by the handler of `SHOUT`, wherever that may be.
#![no_std]
#![no_main]

use hcall_guest::unikernel::{entry, println};
use hcall_guest::{hcall2, Errno, Error};
use hcall_lab_contract::{SHOUT, SHOUT_MOST};

entry!(main);

static LONG: [u8; SHOUT_MOST] = [b'x'; SHOUT_MOST];

fn main() {
    let mut text = *b"hello from a guest";
    assert_eq!(shout(&mut text), Ok(15));
    assert_eq!(&text, b"HELLO FROM A GUEST");
    assert_eq!(shout(&mut text), Ok(0));
    assert_eq!(shout(&mut []), Ok(0));
    let mut long = LONG;
    assert_eq!(shout(&mut long), Ok(SHOUT_MOST as u64));
    assert_eq!(long, [b'X'; SHOUT_MOST]);

    let refused = |gpa, length| hcall2(SHOUT, gpa, length).expect_err("hostile").errno();
    assert_eq!(refused(0, SHOUT_MOST as u64 + 1), Some(Errno::EMSGSIZE));
    assert_eq!(refused(0, u64::MAX), Some(Errno::EMSGSIZE));
    assert_eq!(refused(u64::MAX - 1, 16), Some(Errno::EFAULT));
    println!("the handler answers");
}

fn shout(text: &mut [u8]) -> Result<u64, Error> {
    let gpa = text.as_mut_ptr().expose_provenance() as u64;
    hcall2(SHOUT, gpa, text.len() as u64)
}
