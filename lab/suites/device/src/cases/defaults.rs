// SPDX-License-Identifier: MIT OR Apache-2.0
//! The module parameter `allow`: what a file may call when it is opened. Each case loads the
//! module and unloads it.

use crate::context::Context;
use crate::failure::{equal, passes, Check};
use crate::fdinfo;
use crate::module::{ensure_absent, unload};
use hcall_guest::abi::batch::BatchEntry;
use hcall_guest::abi::ioctl::NumberRange;
use hcall_guest::abi::number::{ECHO, PROBE, RANDOM};
use hcall_guest::batch::{Batch, OnError};
use hcall_guest::device::{Device, DeviceError, Ring};
use hcall_guest::{CallError, Errno as HostErrno};
use hcall_ktap::Suite;
use hcall_lab_contract::MIX;
use rustix::io::Errno;
use std::sync::Arc;

/// Ranges that hold `ECHO` and `MIX1` to `MIX3`.
const SOME: &str = "0x48430002,0x48438101-0x48438103";
/// The parameter as the kernel shows it.
const SHOWN: &str = "/sys/module/hcall/parameters/allow";

/// What is no list, and what the module says of it.
const NONSENSE: [(&str, &str); 10] = [
    ("", "part 1 is neither"),
    ("seven", "part 1 is neither"),
    ("0x48430002,", "part 2 is neither"),
    ("1,,2", "part 2 is neither"),
    ("5-", "part 1 is neither"),
    ("-5", "part 1 is neither"),
    ("0x100000000", "part 1 is neither"),
    ("1-2-3", "part 1 is neither"),
    ("2-1", "the range 0x2-0x1 ends before it begins"),
    (
        "1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31,33",
        "17 ranges were given, an allow-list holds at most 16",
    ),
];

pub(super) fn add<'a>(mut suite: Suite<'a>, context: &'a Context) -> Suite<'a> {
    type Body = fn() -> Check;
    let cases: [(&str, &str, Body); 9] = [
        ("fdinfo shows it", SOME, shown),
        ("CALL", SOME, calls),
        ("CALL_BUFFER", SOME, buffers),
        ("BATCH", SOME, batches),
        ("a ring", SOME, rings),
        ("RESTRICT narrows it and no more", SOME, narrowed),
        ("files have it apart from each other", SOME, apart),
        ("none: no call can be made", "none", nothing),
        ("all: as without it", "all", everything),
    ];
    for (name, value, body) in cases {
        suite = suite.case(format!("allow: {name}"), move || {
            passes(loaded(context, value, body))
        });
    }
    for (value, reason) in NONSENSE {
        let name = if value.is_empty() { "nothing" } else { value };
        suite = suite.case(
            format!("allow={name}: EINVAL, and one line says why"),
            move || passes(refused(context, value, reason)),
        );
    }
    suite
}

fn loaded(context: &Context, value: &str, check: fn() -> Check) -> Check {
    context.module.load(&format!("allow={value}"))?;
    let checked = check();
    unload()?;
    checked
}

fn refused(context: &Context, value: &str, reason: &str) -> Check {
    let before = context.log.borrow_mut().of_module()?.len();
    let outcome = context.module.try_load(&format!("allow={value}"))?;
    equal("finit_module", outcome, Err(Errno::INVAL))?;
    ensure_absent()?;
    let lines = context.log.borrow_mut().of_module()?.split_off(before);
    equal("lines", lines.len(), 1)?;
    let due = format!("allow: {reason}");
    equal(&lines[0], lines[0].starts_with(&due), true)
}

fn shown() -> Check {
    let device = Device::open()?;
    equal("fdinfo", fdinfo::allowed(&device)?.as_str(), SOME)?;
    let text = std::fs::read_to_string(SHOWN)?;
    equal("sysfs", text.trim(), SOME)?;
    let written = std::fs::write(SHOWN, "all").is_ok();
    equal("it can be written", written, false)
}

fn calls() -> Check {
    let device = Device::open()?;
    equal("ECHO", device.echo(3), Ok(3))?;
    for number in [MIX[1], MIX[2], MIX[3]] {
        equal(number, device.hcall0(number).is_ok(), true)?;
    }
    for number in [PROBE, MIX[0], MIX[4]] {
        let due = Err(DeviceError::Refused(number));
        equal(number, device.hcall0(number), due)?;
    }
    equal("refusals in fdinfo", fdinfo::refused(&device)?, 3)
}

fn buffers() -> Check {
    let due = Err(DeviceError::Refused(RANDOM));
    equal("RANDOM", Device::open()?.random(&mut [0; 8]), due)
}

fn batches() -> Check {
    let device = Device::open()?;
    let mut memory = [BatchEntry::default(); 3];
    let mut batch = Batch::new(&mut memory);
    batch.push(ECHO, &[1])?;
    batch.push(MIX[3], &[1])?;
    equal("batch", device.batch(&mut batch, OnError::Stop)?, 2)?;
    batch.push(MIX[4], &[])?;
    let refusal = device.batch(&mut batch, OnError::Continue);
    equal("batch", refusal, Err(DeviceError::BatchRefused))
}

/// The host enforces it.
fn rings() -> Check {
    let mut ring = Ring::open(64)?;
    for number in [ECHO, MIX[1], MIX[3]] {
        ring.submit(number, &[1], 0)?;
        equal(number, ring.wait()?.result.is_ok(), true)?;
    }
    let refused = Err(CallError::Errno(HostErrno::EPERM));
    for number in [PROBE, MIX[0], MIX[4]] {
        ring.submit(number, &[1], 0)?;
        equal(number, ring.wait()?.result, refused)?;
    }
    Ok(())
}

fn narrowed() -> Check {
    let device = Device::open()?;
    let range = |first, last| NumberRange { first, last };
    for wider in [
        range(0, u32::MAX),
        range(PROBE.get(), ECHO.get()),
        range(MIX[0].get(), MIX[3].get()),
        range(MIX[3].get(), MIX[4].get()),
    ] {
        let outcome = device.restrict(&[wider]);
        equal(wider, outcome, Err(DeviceError::Widening))?;
    }
    device.restrict(&[range(MIX[2].get(), MIX[2].get())])?;
    equal("MIX2", device.hcall0(MIX[2]).is_ok(), true)?;
    equal("ECHO", device.echo(3), Err(DeviceError::Refused(ECHO)))
}

fn apart() -> Check {
    let (first, second) = (Arc::new(Device::open()?), Device::open()?);
    first.restrict(&[])?;
    equal("the one", first.echo(3), Err(DeviceError::Refused(ECHO)))?;
    equal("the other", second.echo(3), Ok(3))
}

fn nothing() -> Check {
    let device = Device::open()?;
    equal("fdinfo", fdinfo::allowed(&device)?.as_str(), "none")?;
    equal("ECHO", device.echo(3), Err(DeviceError::Refused(ECHO)))?;
    let mut ring = Ring::open(64)?;
    ring.submit(ECHO, &[1], 0)?;
    let refused = Err(CallError::Errno(HostErrno::EPERM));
    equal("ECHO in a ring", ring.wait()?.result, refused)
}

fn everything() -> Check {
    let device = Device::open()?;
    equal("fdinfo", fdinfo::allowed(&device)?.as_str(), "all")?;
    equal("PROBE", device.hcall0(PROBE).is_ok(), true)
}
