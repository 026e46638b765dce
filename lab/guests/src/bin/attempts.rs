// SPDX-License-Identifier: MIT OR Apache-2.0
//! Has the host's handlers try what confined threads must not get: so many attempts as the
//! command line says, each by a call of its own and by one through a ring.
//! Or has one hang.
#![no_std]
#![no_main]

use hcall_guest::abi::ring::RingLayout;
use hcall_guest::hcall1;
use hcall_guest::unikernel::ring::{RingSpace, UnikernelRing};
use hcall_guest::unikernel::{command_line, entry};
use hcall_lab_contract::{ATTEMPT, HANG};

entry!(main);

const ENTRIES: u32 = 8;
const BYTES: usize = match RingLayout::new(ENTRIES) {
    Some(layout) => layout.bytes() as usize,
    None => panic!("a power of two"),
};

static SPACE: RingSpace<BYTES> = RingSpace::new();

fn main() {
    if command_line() == "hang" {
        let _ = hcall1(ATTEMPT, HANG);
    }
    let count: u64 = command_line().parse().expect("a number of attempts");
    for index in 0..count {
        assert_eq!(hcall1(ATTEMPT, index), Ok(0));
    }
    let mut ring = UnikernelRing::set_up(&SPACE, ENTRIES).expect("a ring");
    for index in 0..count {
        ring.submit(ATTEMPT, [index, 0, 0, 0], index)
            .expect("the ring has room");
        let _ = ring.flush();
        let answer = ring.wait().expect("the ring is served");
        assert_eq!(answer.result, Ok(0));
    }
}
