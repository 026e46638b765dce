// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads on all processors that share one open file, with every request at once.

use super::on_each;
use crate::failure::{equal, Check};
use hcall_guest::abi::batch::BatchEntry;
use hcall_guest::abi::number::{ECHO, RANDOM};
use hcall_guest::batch::{Batch, OnError};
use hcall_guest::device::{Buffer, Device, DeviceError};
use hcall_lab_contract::INVERT;

/// Rounds of each thread; each has all requests.
const ROUNDS: u64 = 150;
/// A long buffer, and one of a page at most.
const LENGTHS: [usize; 2] = [40_000, 100];

pub(super) fn one_file(count: usize) -> Check {
    let device = Device::open()?;
    on_each(count, |processor| {
        (0..ROUNDS).try_for_each(|round| every_request(&device, processor as u64, round))
    })
}

fn every_request(device: &Device, processor: u64, round: u64) -> Check {
    let value = (processor << 32) | round;
    equal("ECHO", device.echo(value), Ok(value))?;
    let byte = value as u8 ^ processor as u8;
    let mut bytes = vec![byte; LENGTHS[usize::from(round % 8 != 0)]];
    device.call_buffer(INVERT, &[], Buffer::InOut(&mut bytes), &[])?;
    let inverted = bytes.iter().all(|found| *found == !byte);
    equal("INVERT: this thread's bytes", inverted, true)?;
    let mut memory = [BatchEntry::default(); 8];
    let mut batch = Batch::new(&mut memory);
    for place in 0..8 {
        batch.push(ECHO, &[value + place])?;
    }
    device.batch(&mut batch, OnError::Stop)?;
    for (place, answer) in batch.results().enumerate() {
        equal("ECHO in a batch", answer, Ok(value + place as u64))?;
    }
    let refused = Err(DeviceError::Refused(RANDOM));
    equal("RANDOM", device.hcall2(RANDOM, 0x1000, 8), refused)?;
    let other = Device::open()?;
    other.restrict(&[])?;
    equal(
        "another file",
        other.echo(1),
        Err(DeviceError::Refused(ECHO)),
    )
}
