// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls that end the VM are made for those only who may reboot it. What shows that one gets
//! through is `EXIT` with a code that the host must refuse.

use crate::failure::{equal, passes, Check, Failure};
use crate::fdinfo;
use crate::raw::{refused, RawDevice};
use hcall_guest::abi::batch::BatchEntry;
use hcall_guest::abi::ioctl::{Batch, Call, CallBuffer, NumberRange, BATCH, BUFFER_IN};
use hcall_guest::abi::number::{ECHO, EXIT, PANIC};
use hcall_guest::device::{Device, DeviceError};
use hcall_guest::HypercallNumber;
use hcall_ktap::Suite;
use rustix::io::Errno;
use rustix::thread::{capabilities, set_capabilities, CapabilitySet};

/// A code that no host takes.
const NO_CODE: u64 = 256;
/// `-EINVAL`.
const INVALID: i64 = -22;

pub(super) fn add(suite: Suite<'_>) -> Suite<'_> {
    suite
        .case("EXIT by CALL reaches the host from root", || {
            passes(by_call(Ok(INVALID)))
        })
        .case("EXIT in a BATCH reaches the host from root", || {
            passes(by_batch(EXIT, 2, Ok(INVALID)))
        })
        .case("EXIT by CALL without CAP_SYS_BOOT: EPERM, counted", || {
            passes(without_capability(|| by_call(Err(Errno::PERM))))
        })
        .case("EXIT by CALL_BUFFER without CAP_SYS_BOOT: EPERM", || {
            passes(without_capability(|| by_call_buffer(EXIT)))
        })
        .case("PANIC by CALL_BUFFER without CAP_SYS_BOOT: EPERM", || {
            passes(without_capability(|| by_call_buffer(PANIC)))
        })
        .case("PANIC by CALL without CAP_SYS_BOOT: EPERM", || {
            passes(without_capability(panic_by_call))
        })
        .case("EXIT first in a BATCH without CAP_SYS_BOOT: EPERM", || {
            passes(without_capability(|| by_batch(EXIT, 0, Err(Errno::PERM))))
        })
        .case("EXIT last in a BATCH without CAP_SYS_BOOT: EPERM", || {
            passes(without_capability(|| by_batch(EXIT, 4, Err(Errno::PERM))))
        })
        .case("PANIC in a BATCH without CAP_SYS_BOOT: EPERM", || {
            passes(without_capability(|| by_batch(PANIC, 2, Err(Errno::PERM))))
        })
        .case("without CAP_SYS_BOOT everything else can be called", || {
            passes(without_capability(others))
        })
        .case("with CAP_SYS_BOOT alone, and no other capability", || {
            passes(with_capabilities(CapabilitySet::SYS_BOOT, || {
                by_call(Ok(INVALID))
            }))
        })
        .case(
            "root with every capability is bound by a restriction",
            || passes(restricted()),
        )
}

/// Runs a check in a thread with these capabilities, which end with it.
fn with_capabilities(kept: CapabilitySet, check: impl FnOnce() -> Check + Send) -> Check {
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let mut held = capabilities(None)?;
            held.effective &= kept;
            set_capabilities(None, held)?;
            check()
        });
        thread
            .join()
            .map_err(|_| Failure::new("the thread panicked"))?
    })
}

fn without_capability(check: impl FnOnce() -> Check + Send) -> Check {
    with_capabilities(!CapabilitySet::SYS_BOOT, check)
}

fn by_call(due: Result<i64, Errno>) -> Check {
    let raw = RawDevice::open()?;
    let mut call = Call {
        number: EXIT.get(),
        arguments: [NO_CODE, 0, 0, 0],
        ..Call::default()
    };
    let status = raw.call(&mut call);
    equal("EXIT(256)", status.map(|()| call.result), due)?;
    equal(
        "refusals in fdinfo",
        fdinfo::refused(&raw)?,
        due.is_err().into(),
    )?;
    if due.is_err() {
        // With a code that the host would take, the VM would be gone.
        call.arguments[0] = 0;
        equal("EXIT(0)", raw.call(&mut call), refused(Errno::PERM))?;
    }
    Ok(())
}

fn by_call_buffer(number: HypercallNumber) -> Check {
    let raw = RawDevice::open()?;
    let mut message = *b"not to be seen";
    let mut call = CallBuffer {
        number: number.get(),
        flags: BUFFER_IN,
        ..CallBuffer::default()
    };
    let status = raw.call_buffer(&mut call, &mut message);
    equal(number, status, refused(Errno::PERM))?;
    equal("refusals in fdinfo", fdinfo::refused(&raw)?, 1)
}

fn panic_by_call() -> Check {
    let mut call = Call {
        number: PANIC.get(),
        ..Call::default()
    };
    equal(
        "PANIC",
        RawDevice::open()?.call(&mut call),
        refused(Errno::PERM),
    )
}

/// Five entries, one of which ends the VM; none is made unless that one may be.
fn by_batch(number: HypercallNumber, place: usize, due: Result<i64, Errno>) -> Check {
    let raw = RawDevice::open()?;
    let mut entries = [BatchEntry::new(ECHO, [7, 0, 0, 0]); 5];
    entries[place] = BatchEntry::new(number, [NO_CODE, 0, 0, 0]);
    let mut batch = Batch {
        entries: entries.as_mut_ptr().expose_provenance() as u64,
        count: entries.len() as u32,
        ..Batch::default()
    };
    // SAFETY: structure and entries are ours.
    let status = unsafe { raw.request(BATCH, (&raw mut batch).expose_provenance()) };
    equal("BATCH", status, due.map(|_| ()))?;
    match due {
        Ok(result) => {
            equal("answered", batch.result, entries.len() as i64)?;
            equal("EXIT(256)", entries[place].result, result)
        }
        Err(_) => {
            let results = entries.map(|entry| entry.result);
            equal("results", results, [0; 5])?;
            equal("refusals in fdinfo", fdinfo::refused(&raw)?, 1)
        }
    }
}

fn others() -> Check {
    let device = Device::open()?;
    equal("ECHO", device.echo(3), Ok(3))?;
    device.random(&mut [0; 16])?;
    device.stats()?;
    device.probe().map(drop).map_err(Into::into)
}

fn restricted() -> Check {
    let device = Device::open()?;
    device.restrict(&[NumberRange {
        first: ECHO.get(),
        last: ECHO.get(),
    }])?;
    let refusal = device.hcall1(EXIT, NO_CODE);
    equal("EXIT", refusal, Err(DeviceError::Refused(EXIT)))
}
