// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall bench`: how long the calls of this guest take, alone and together.
//!
//! Every answer is looked at: what is measured are calls that were made.

use crate::failure::Failure;
use crate::timing::Timing;
use clap::ValueEnum;
use hcall_guest::abi::batch::BatchEntry;
use hcall_guest::abi::ioctl::BATCH_MAX;
use hcall_guest::abi::number::{ECHO, PROBE};
use hcall_guest::abi::version::PROBE_RESULT;
use hcall_guest::batch::{Batch, OnError};
use hcall_guest::device::{Device, DeviceError, Ring};
use hcall_guest::HypercallNumber;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Instant;

/// The calls that can be measured: those that every host answers alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Measured {
    /// Sends a value to the host and back
    Echo,
    /// Asks for the host's version of the ABI
    Probe,
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) call: Measured,
    /// The least time between two looks at the clock, in nanoseconds.
    pub(crate) clock: u128,
    pub(crate) ways: Vec<(Way, Result<Timing, String>)>,
}

/// How calls are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Each with a system call and an exit of its own.
    Single,
    /// As many together as the host and the module take.
    Batch,
    /// Through memory that the host looks into.
    Ring,
}

/// Entries of the ring, at most: so many calls are on their way at once.
const RING_ENTRIES: u32 = 256;

/// Made before the clock is looked at, each way: caches are warm, the host's thread runs.
const WARM_UP: u32 = 100;

impl Measured {
    pub(crate) fn number(self) -> HypercallNumber {
        match self {
            Self::Echo => ECHO,
            Self::Probe => PROBE,
        }
    }

    /// What the host has to answer when the argument is `value`.
    fn answer_to(self, value: u64) -> u64 {
        match self {
            Self::Echo => value,
            Self::Probe => PROBE_RESULT,
        }
    }

    fn check(self, value: u64, answer: u64) -> Result<(), DeviceError> {
        if answer == self.answer_to(value) {
            return Ok(());
        }
        Err(DeviceError::Nonsense {
            call: self.number().name().unwrap_or("a call"),
            problem: "another value than it has to",
        })
    }
}

impl Way {
    /// In words, and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Batch => "batch",
            Self::Ring => "ring",
        }
    }
}

/// Makes `calls` calls each way, or a few more.
pub(crate) fn run(device: Device, call: Measured, calls: NonZero<u32>) -> Result<Bench, Failure> {
    let device = Arc::new(device);
    let info = *device.info();
    let single = single(&device, call, calls)?;
    let batch = match NonZero::new(info.batch_entries.min(BATCH_MAX)) {
        Some(entries) => Ok(batches(&device, call, calls, entries)?),
        None => Err("this host takes no batches".to_owned()),
    };
    let ring = match NonZero::new(info.ring_entries.min(RING_ENTRIES)) {
        Some(entries) => match Ring::over(Arc::clone(&device), entries.get()) {
            Ok(mut ring) => Ok(through_ring(&mut ring, call, calls, entries)?),
            Err(error) => Err(format!("there is no ring to be had: {error}")),
        },
        None => Err("this host offers no rings".to_owned()),
    };
    Ok(Bench {
        call,
        clock: clock(),
        ways: vec![
            (Way::Single, Ok(single)),
            (Way::Batch, batch),
            (Way::Ring, ring),
        ],
    })
}

fn single(device: &Device, call: Measured, calls: NonZero<u32>) -> Result<Timing, DeviceError> {
    let work = |value| call.check(value, device.call(call.number(), &[value])?);
    timing(calls, NonZero::<u32>::MIN, work)
}

fn batches(
    device: &Device,
    call: Measured,
    calls: NonZero<u32>,
    entries: NonZero<u32>,
) -> Result<Timing, DeviceError> {
    let mut memory = vec![BatchEntry::default(); entries.get() as usize];
    timing(calls, entries, |_| {
        let mut batch = Batch::new(&mut memory);
        // Until its memory is full.
        while batch.push(call.number(), &[batch.len() as u64]).is_ok() {}
        device.batch(&mut batch, OnError::Stop)?;
        for value in 0..entries.get() {
            let answer = batch.result(value as usize).ok_or(DeviceError::Nonsense {
                call: "BATCH",
                problem: "fewer answers than calls",
            })?;
            call.check(value.into(), answer?)?;
        }
        Ok(())
    })
}

fn through_ring(
    ring: &mut Ring,
    call: Measured,
    calls: NonZero<u32>,
    entries: NonZero<u32>,
) -> Result<Timing, DeviceError> {
    timing(calls, entries, |_| {
        let mut submitted = 0;
        while ring.submit(call.number(), &[submitted], submitted).is_ok() {
            submitted += 1;
        }
        ring.flush()?;
        for value in 0..submitted {
            call.check(value, ring.wait()?.result?)?;
        }
        Ok(())
    })
}

/// The times of `work`, which makes `together` calls, until `calls` are made.
fn timing(
    calls: NonZero<u32>,
    together: NonZero<u32>,
    mut work: impl FnMut(u64) -> Result<(), DeviceError>,
) -> Result<Timing, DeviceError> {
    for value in 0..WARM_UP.div_ceil(together.get()) {
        work(value.into())?;
    }
    let mut timed = |value: u32| {
        let start = Instant::now();
        work(value.into())?;
        Ok(start.elapsed().as_nanos())
    };
    let first = timed(0)?;
    let others = (1..calls.get().div_ceil(together.get()))
        .map(timed)
        .collect::<Result<Vec<_>, DeviceError>>()?;
    Ok(Timing::new(together, first, others))
}

/// The least that anything seems to take, because the clock was looked at.
fn clock() -> u128 {
    let look = |_| Instant::now().elapsed().as_nanos();
    (0..1000).map(look).min().unwrap_or_default()
}
