// SPDX-License-Identifier: MIT OR Apache-2.0
//! Batches, and restrictions with those who inherit them.

use crate::check::{equal, Check};
use hcall_guest::abi::batch::BatchEntry;
use hcall_guest::abi::ioctl::{NumberRange, BATCH_MAX};
use hcall_guest::abi::number::{ECHO, PROBE, RANDOM};
use hcall_guest::batch::{Batch, OnError};
use hcall_guest::device::{Device, DeviceError};
use hcall_guest::{CallError, Errno};
use hcall_lab_contract::{mix, FAIL, MIX};
use std::process::Command;

/// The argument of the process that inherits a restricted device.
pub(crate) const CHILD: &str = "--child";

pub(crate) fn batch() -> Check {
    let mut memory = [BatchEntry::default(); BATCH_MAX as usize];
    let mut batch = Batch::new(&mut memory);
    let arguments = |index: u64| [index, 0, 0, u64::MAX - index];
    for index in 0..BATCH_MAX as usize {
        batch.push(MIX[index % MIX.len()], &arguments(index as u64))?;
    }
    let answered = Device::open()?.batch(&mut batch, OnError::Continue)?;
    equal("entries answered", answered, BATCH_MAX as usize)?;
    for (index, result) in (0..).zip(batch.results()) {
        let due = mix(index % MIX.len() as u64, arguments(index));
        equal("MIX", result, Ok(due))?;
    }
    Ok(())
}

pub(crate) fn batch_stops() -> Check {
    let device = Device::open()?;
    let mut memory = [BatchEntry::default(); 3];
    let mut batch = Batch::new(&mut memory);
    batch.push(ECHO, &[1])?;
    batch.push(FAIL, &[Errno::EBUSY.get().into()])?;
    batch.push(ECHO, &[3])?;
    let busy = CallError::Errno(Errno::EBUSY);
    equal(
        "entries answered",
        device.batch(&mut batch, OnError::Stop)?,
        2,
    )?;
    equal("first", batch.result(0), Some(Ok(1)))?;
    equal("second", batch.result(1), Some(Err(busy)))?;
    equal("third", batch.result(2), None)?;
    equal(
        "entries answered",
        device.batch(&mut batch, OnError::Continue)?,
        3,
    )?;
    equal("third", batch.result(2), Some(Ok(3)))
}

pub(crate) fn batch_refused() -> Check {
    let mut memory = [BatchEntry::default(); 3];
    let mut batch = Batch::new(&mut memory);
    batch.push(ECHO, &[1])?;
    batch.push(RANDOM, &[])?;
    batch.push(ECHO, &[1])?;
    let refused = Device::open()?.batch(&mut batch, OnError::Continue);
    equal("batch", refused, Err(DeviceError::BatchRefused))?;
    equal("first", batch.result(0), None)
}

pub(crate) fn restriction() -> Check {
    let range = |first, last| NumberRange { first, last };
    let echo = range(ECHO.get(), ECHO.get());
    let mixes = range(MIX[0].get(), MIX[4].get());
    let device = Device::open()?;
    device.restrict(&[mixes, echo])?;
    equal("ECHO", device.echo(5)?, 5)?;
    let refused = device.hcall1(FAIL, 1);
    equal("FAIL", refused, Err(DeviceError::Refused(FAIL)))?;
    let wider = device.restrict(&[range(MIX[0].get(), FAIL.get())]);
    equal("widen", wider, Err(DeviceError::Widening))?;
    device.restrict(&[mixes])?;
    equal("ECHO", device.echo(5), Err(DeviceError::Refused(ECHO)))?;
    device.restrict(&[])?;
    let refused = device.hcall0(MIX[0]);
    equal("MIX", refused, Err(DeviceError::Refused(MIX[0])))?;
    equal("another file", Device::open()?.echo(5)?, 5)
}

pub(crate) fn inherited_restriction() -> Check {
    let device = Device::open()?;
    device.restrict(&[NumberRange {
        first: ECHO.get(),
        last: ECHO.get(),
    }])?;
    let mut command = Command::new(std::env::current_exe()?);
    device.hand_to(&mut command)?;
    let status = command.arg(CHILD).status()?;
    equal("the child succeeded", status.success(), true)
}

/// What the process does that has inherited the device.
pub(crate) fn child() -> Check {
    let device = Device::inherited().ok_or("no device was inherited")??;
    equal("ECHO", device.echo(5)?, 5)?;
    let refused = device.hcall0(PROBE);
    equal("PROBE", refused, Err(DeviceError::Refused(PROBE)))
}
