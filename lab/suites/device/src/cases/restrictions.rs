// SPDX-License-Identifier: MIT OR Apache-2.0
//! `RESTRICT`: what an open file has given up nobody gets back, in whatever process.

use super::refusals::NOT_MEMORY;
use crate::failure::{equal, passes, Check, Failure};
use crate::fdinfo;
use crate::raw::{refused, RawDevice};
use hcall_guest::abi::allow_list::RangeError;
use hcall_guest::abi::batch::BatchEntry;
use hcall_guest::abi::ioctl::{NumberRange, Restrict, RANGES_MAX, RESTRICT};
use hcall_guest::abi::number::{ECHO, PROBE};
use hcall_guest::batch::{Batch, OnError};
use hcall_guest::device::{Buffer, Device, DeviceError};
use hcall_guest::HypercallNumber;
use hcall_ktap::Suite;
use hcall_lab_contract::{MIX, SUM};
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rounds in which a file is restricted while others call through it.
const RACES: usize = 20;

pub(super) fn add(suite: Suite<'_>) -> Suite<'_> {
    suite
        .case("a restricted file calls only what it kept", || {
            passes(keeps())
        })
        .case("no ranges leave nothing", || passes(nothing_left()))
        .case("a restriction can be narrowed", || passes(narrows()))
        .case(
            "ways to widen a restriction: EPERM, nothing changed",
            || passes(widening()),
        )
        .case("restrictions that make no sense: EINVAL", || {
            passes(nonsense())
        })
        .case("restrictions in no memory: EFAULT", || passes(no_memory()))
        .case("the SDK names what is wrong with a restriction", || {
            passes(typed())
        })
        .case(
            "a restriction is the open file's: duplicates have it, another file does not",
            || passes(whose_it_is()),
        )
        .case("no call begins after it was given up", || passes(races()))
}

fn one(number: HypercallNumber) -> NumberRange {
    range(number.get(), number.get())
}

fn range(first: u32, last: u32) -> NumberRange {
    NumberRange { first, last }
}

fn keeps() -> Check {
    let device = Device::open()?;
    equal("before", fdinfo::allowed(&device)?.as_str(), "all")?;
    device.restrict(&[one(ECHO), range(MIX[1].get(), MIX[2].get()), one(SUM)])?;
    equal("ECHO", device.hcall1(ECHO, 3), Ok(3))?;
    equal("MIX2", device.hcall2(MIX[2], 1, 2).is_ok(), true)?;
    let sum = device.call_buffer(SUM, &[], Buffer::In(&[1, 2]), &[]);
    equal("SUM", sum, Ok(3))?;
    for number in [PROBE, MIX[0], MIX[3]] {
        let answer = device.hcall0(number);
        equal(number, answer, Err(DeviceError::Refused(number)))?;
    }
    let random = device.random(&mut [0; 8]);
    equal("RANDOM by CALL_BUFFER", random.is_err(), true)?;

    let mut memory = [BatchEntry::default(); 3];
    let mut batch = Batch::new(&mut memory);
    batch.push(ECHO, &[1])?;
    batch.push(MIX[1], &[1])?;
    equal("batch", device.batch(&mut batch, OnError::Stop)?, 2)?;
    batch.push(PROBE, &[])?;
    let refusal = device.batch(&mut batch, OnError::Continue);
    equal("batch", refusal, Err(DeviceError::BatchRefused))?;
    equal("refusals in fdinfo", fdinfo::refused(&device)?, 5)?;
    let due = format!(
        "{},{},{}",
        one(ECHO),
        range(MIX[1].get(), MIX[2].get()),
        one(SUM)
    );
    equal("fdinfo", fdinfo::allowed(&device)?, due)
}

fn nothing_left() -> Check {
    let device = Device::open()?;
    device.restrict(&[])?;
    equal("fdinfo", fdinfo::allowed(&device)?.as_str(), "none")?;
    for number in [PROBE, ECHO, MIX[0]] {
        let answer = device.hcall0(number);
        equal(number, answer, Err(DeviceError::Refused(number)))?;
    }
    // What the module itself answers is no call.
    let copy = Device::from_fd(device.as_fd().try_clone_to_owned()?)?;
    equal("INFO", copy.info(), device.info())
}

fn narrows() -> Check {
    let device = Device::open()?;
    // The first may name anything, what can never be called as well; it changes nothing.
    device.restrict(&[range(0, u32::MAX)])?;
    equal("everything", device.hcall1(ECHO, 3), Ok(3))?;
    let kvm = HypercallNumber::new(13)?;
    equal("13", device.hcall0(kvm).is_err(), true)?;
    device.restrict(&[range(MIX[0].get(), MIX[4].get()), one(ECHO)])?;
    device.restrict(&[one(ECHO), range(MIX[1].get(), MIX[2].get())])?;
    // The same again is not wider.
    device.restrict(&[range(MIX[1].get(), MIX[2].get()), one(ECHO)])?;
    equal("MIX1", device.hcall0(MIX[1]).is_ok(), true)?;
    equal("MIX0", device.hcall0(MIX[0]).is_ok(), false)?;
    device.restrict(&[one(ECHO)])?;
    equal("ECHO", device.hcall1(ECHO, 3), Ok(3))?;
    equal("MIX1", device.hcall0(MIX[1]).is_ok(), false)
}

fn widening() -> Check {
    let device = Device::open()?;
    let (low, high) = (range(0x100, 0x1ff), range(0x300, 0x3ff));
    device.restrict(&[low, high, one(ECHO)])?;
    let before = fdinfo::allowed(&device)?;
    let mut sixteen: Vec<NumberRange> =
        (0x100..0x10f).map(|number| range(number, number)).collect();
    sixteen.push(range(0x200, 0x200));
    let attempts: [&[NumberRange]; 12] = [
        &[range(0, u32::MAX)],
        &[one(PROBE)],
        &[low, high, one(ECHO), one(PROBE)],
        &[range(0xff, 0x1ff)],
        &[range(0x100, 0x200)],
        // The gap between what is allowed.
        &[range(0x100, 0x3ff)],
        &[range(0x200, 0x2ff)],
        &[low, range(0x1ff, 0x300), high],
        &[range(0x180, 0x250), range(0x200, 0x380)],
        &[range(0, 0)],
        &[range(u32::MAX, u32::MAX)],
        &sixteen,
    ];
    for ranges in attempts {
        let outcome = device.restrict(ranges);
        equal(
            format_args!("{ranges:x?}"),
            outcome,
            Err(DeviceError::Widening),
        )?;
        equal("fdinfo", fdinfo::allowed(&device)?, before.clone())?;
        equal("PROBE", device.hcall0(PROBE).is_ok(), false)?;
        equal("ECHO", device.hcall1(ECHO, 3), Ok(3))?;
    }
    device.restrict(&[])?;
    let outcome = device.restrict(&[one(ECHO)]);
    equal("back from nothing", outcome, Err(DeviceError::Widening))
}

fn request(raw: &RawDevice, restrict: &mut Restrict) -> rustix::io::Result<()> {
    // SAFETY: the kernel only reads the structure.
    unsafe { raw.request(RESTRICT, (&raw mut *restrict).expose_provenance()) }
}

fn nonsense() -> Check {
    let raw = RawDevice::open()?;
    let good = || Restrict {
        count: 1,
        ..Restrict::default()
    };
    for count in [RANGES_MAX + 1, 1 << 16, u32::MAX] {
        let outcome = request(&raw, &mut Restrict { count, ..good() });
        equal(
            format_args!("{count} ranges"),
            outcome,
            refused(Errno::INVAL),
        )?;
    }
    for bit in 0..u32::BITS {
        let reserved = 1 << bit;
        let outcome = request(&raw, &mut Restrict { reserved, ..good() });
        equal(format_args!("bit {bit}"), outcome, refused(Errno::INVAL))?;
    }
    for (place, range) in [
        (0, range(1, 0)),
        (0, range(u32::MAX, 0)),
        // Beyond the count.
        (1, range(0, 1)),
        (15, range(1, 1)),
        (1, range(2, 1)),
    ] {
        let mut restrict = good();
        restrict.ranges[place] = range;
        let outcome = request(&raw, &mut restrict);
        equal(
            format_args!("{range} at {place}"),
            outcome,
            refused(Errno::INVAL),
        )?;
    }
    equal("fdinfo", fdinfo::allowed(&raw)?.as_str(), "all")
}

fn no_memory() -> Check {
    let raw = RawDevice::open()?;
    for address in NOT_MEMORY {
        // SAFETY: no memory of the process is there.
        let outcome = unsafe { raw.request(RESTRICT, address) };
        equal(format_args!("{address:#x}"), outcome, refused(Errno::FAULT))?;
    }
    equal("fdinfo", fdinfo::allowed(&raw)?.as_str(), "all")
}

fn typed() -> Check {
    let device = Device::open()?;
    let many = [range(0, 0); RANGES_MAX as usize + 1];
    equal(
        "seventeen",
        device.restrict(&many),
        Err(DeviceError::Ranges(RangeError::TooMany(many.len()))),
    )?;
    let backwards = range(5, 4);
    equal(
        "backwards",
        device.restrict(&[backwards]),
        Err(DeviceError::Ranges(RangeError::Backwards(backwards))),
    )
}

fn whose_it_is() -> Check {
    let device = Device::open()?;
    let copy = Device::from_fd(device.as_fd().try_clone_to_owned()?)?;
    let other = Device::open()?;
    copy.restrict(&[one(ECHO)])?;
    equal("the first", device.hcall0(PROBE).is_ok(), false)?;
    equal("the duplicate", copy.hcall0(PROBE).is_ok(), false)?;
    equal("another file", other.hcall0(PROBE).is_ok(), true)
}

/// Threads that call all the time: none succeeds in a call that begins after RESTRICT has
/// returned.
fn races() -> Check {
    for _ in 0..RACES {
        let device = Device::open()?;
        let restricted = AtomicBool::new(false);
        let calls = || {
            let mut made = 0;
            loop {
                let is_over = restricted.load(Ordering::Acquire);
                match device.hcall0(PROBE) {
                    Ok(_) if is_over => return Err("a call began after it was given up"),
                    Ok(_) => made += 1,
                    Err(DeviceError::Refused(_)) if is_over => return Ok(made),
                    Err(DeviceError::Refused(_)) => {}
                    Err(_) => return Err("a call failed otherwise"),
                }
            }
        };
        let outcomes = std::thread::scope(|scope| {
            let callers = [(); 3].map(|()| scope.spawn(calls));
            let outcome = device.restrict(&[one(ECHO)]);
            restricted.store(true, Ordering::Release);
            let callers = callers.map(|caller| caller.join().unwrap_or(Err("a thread panicked")));
            (outcome, callers)
        });
        equal("RESTRICT", outcomes.0, Ok(()))?;
        for outcome in outcomes.1 {
            outcome.map_err(Failure::new)?;
        }
    }
    Ok(())
}
