// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests of drivers to come: a known sequence number with another size or direction is
//! ENOTTY, and nothing of the process is touched.

use crate::failure::{equal, passes, Check};
use crate::memory::{Pages, Place};
use crate::raw::{refused, RawDevice};
use hcall_guest::abi::ioctl::{
    BATCH, CALL, CALL_BUFFER, INFO, RESTRICT, RING_KICK, RING_SETUP, RING_WAIT,
};
use hcall_guest::abi::Transport;
use hcall_guest::device::Device;
use hcall_ktap::Suite;
use hcall_lab_contract::{COUNT, MIX};
use rustix::io::Errno;

const REQUESTS: [(&str, u32); 8] = [
    ("INFO", INFO),
    ("CALL", CALL),
    ("CALL_BUFFER", CALL_BUFFER),
    ("BATCH", BATCH),
    ("RESTRICT", RESTRICT),
    ("RING_SETUP", RING_SETUP),
    ("RING_KICK", RING_KICK),
    ("RING_WAIT", RING_WAIT),
];

const SIZE_SHIFT: u32 = 16;
const SIZE_MASK: u32 = (1 << 14) - 1;
const DIRECTION_SHIFT: u32 = 30;

pub(super) fn add(mut suite: Suite<'_>, transport: Transport) -> Suite<'_> {
    for (name, request) in REQUESTS {
        suite = suite
            .case(
                format!("{name} with a structure of another size: ENOTTY"),
                move || passes(untouched(transport, &other_sizes(request))),
            )
            .case(
                format!("{name} with another direction: ENOTTY"),
                move || passes(untouched(transport, &other_directions(request))),
            );
    }
    suite
}

fn other_sizes(request: u32) -> Vec<u32> {
    let size = (request >> SIZE_SHIFT) & SIZE_MASK;
    let others = [
        0,
        1,
        size.wrapping_sub(8) & SIZE_MASK,
        size.wrapping_sub(1) & SIZE_MASK,
        size + 1,
        size + 8,
        2 * size + 16,
        SIZE_MASK,
    ];
    others
        .into_iter()
        .filter(|other| *other != size)
        .map(|other| request & !(SIZE_MASK << SIZE_SHIFT) | (other << SIZE_SHIFT))
        .collect()
}

fn other_directions(request: u32) -> Vec<u32> {
    (1..4)
        .map(|other| request ^ (other << DIRECTION_SHIFT))
        .collect()
}

/// Each is refused, with a good structure at the address and with none.
fn untouched(transport: Transport, requests: &[u32]) -> Check {
    let device = Device::open()?;
    let count = || device.hcall1(COUNT, transport.raw().into());
    let raw = RawDevice::open()?;
    let mut pages = Pages::new(5, Place::Anywhere)?;
    let good = MIX[0].get().to_ne_bytes();
    pages.bytes()[..good.len()].copy_from_slice(&good);
    let before = pages.bytes().to_vec();
    let calls = count()?;
    for request in requests {
        for address in [pages.address(0), 8] {
            // SAFETY: the pages are ours and longer than any structure, or nobody's.
            let status = unsafe { raw.request(*request, address) };
            equal(format_args!("{request:#x}"), status, refused(Errno::NOTTY))?;
        }
    }
    equal("the structure is as it was", pages.bytes() == before, true)?;
    equal("calls at the host", count()? - calls, 1)
}
