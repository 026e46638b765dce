// SPDX-License-Identifier: MIT OR Apache-2.0
//! `CALL`: every argument arrives, by the transport that it should, and the host's answer
//! comes back as it is.

use crate::compat;
use crate::failure::{equal, passes, Check, Failure};
use crate::memory::{Pages, Place};
use crate::raw::RawDevice;
use hcall_guest::abi::ioctl::{Call, CALL};
use hcall_guest::abi::Transport;
use hcall_guest::device::Device;
use hcall_ktap::{CaseResult, Suite, Verdict};
use hcall_lab_contract::{mix, ArgumentSequence, COUNT, FAIL, MIX, UNREGISTERED};
use std::mem::size_of;

/// Argument sets per arity.
const SETS: usize = 1000;
/// Values at which something could be cut off or extended.
const EXTREMES: [u64; 7] = [
    0,
    1,
    u32::MAX as u64,
    1 << 32,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];
/// Threads that share one device, and the calls of each.
const THREADS: u64 = 4;
const CALLS_PER_THREAD: usize = 250;
/// Calls between two looks at the host's counter.
const COUNTED: u64 = 100;
/// `-ENOSYS`.
const NOT_IMPLEMENTED: i64 = -38;

pub(super) fn add(mut suite: Suite<'_>, transport: Transport) -> Suite<'_> {
    for arity in 0..MIX.len() {
        suite = suite.case(
            format!("{SETS} sets of {arity} arguments arrive"),
            move || passes(arguments_arrive(arity)),
        );
    }
    suite
        .case("extreme arguments arrive", || passes(extremes_arrive()))
        .case("threads share a device", || passes(threads_share()))
        .case(
            format!("the host counts exactly the calls that were made, by {transport}"),
            move || passes(host_counts(transport)),
        )
        .case("an unknown number gives ENOSYS in the result", || {
            passes(unknown_number())
        })
        .case("the host's errno comes back in the result", || {
            passes(errno_comes_back())
        })
        .case("a 32-bit caller is served", thirty_two_bit_caller)
}

fn arguments_arrive(arity: usize) -> Check {
    let device = Device::open()?;
    let mut sequence = ArgumentSequence::new(arity as u64);
    for _ in 0..SETS {
        mixes(&device, arity, sequence.next_arguments(arity))?;
    }
    Ok(())
}

fn extremes_arrive() -> Check {
    let device = Device::open()?;
    for value in EXTREMES {
        for place in 0..4 {
            let mut arguments = [!value; 4];
            arguments[place] = value;
            mixes(&device, 4, arguments)?;
        }
    }
    Ok(())
}

/// Makes the call of this arity; fails if the host received other arguments.
fn mixes(device: &Device, arity: usize, arguments: [u64; 4]) -> Check {
    let [a, b, c, d] = arguments;
    let answer = match arity {
        0 => device.hcall0(MIX[0]),
        1 => device.hcall1(MIX[1], a),
        2 => device.hcall2(MIX[2], a, b),
        3 => device.hcall3(MIX[3], a, b, c),
        _ => device.hcall4(MIX[4], a, b, c, d),
    };
    let due = mix(arity as u64, arguments);
    equal(
        format_args!("MIX{arity} of {arguments:x?}"),
        answer,
        Ok(due),
    )
}

fn threads_share() -> Check {
    let device = &Device::open()?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|seed| scope.spawn(move || thread_calls(device, seed)))
            .collect();
        for thread in threads {
            thread
                .join()
                .map_err(|_| Failure::new("a thread panicked"))??;
        }
        Ok(())
    })
}

fn thread_calls(device: &Device, seed: u64) -> Check {
    let mut sequence = ArgumentSequence::new(seed);
    for _ in 0..CALLS_PER_THREAD {
        mixes(device, 4, sequence.next_arguments(4))?;
    }
    Ok(())
}

fn host_counts(transport: Transport) -> Check {
    let device = Device::open()?;
    let count = |of: Transport| device.hcall1(COUNT, of.raw().into());
    let before = count(transport)?;
    for _ in 0..COUNTED {
        device.hcall0(MIX[0])?;
    }
    let after = count(transport)?;
    equal("calls between", after - before, COUNTED + 1)?;
    for other in Transport::ALL {
        if other != transport {
            equal(format_args!("calls by {other}"), count(other)?, 0)?;
        }
    }
    Ok(())
}

fn unknown_number() -> Check {
    equal(
        "result",
        result_of(UNREGISTERED.get(), [0; 4])?,
        NOT_IMPLEMENTED,
    )?;
    equal(
        "result of 0x3000",
        result_of(0x3000, [0; 4])?,
        NOT_IMPLEMENTED,
    )
}

fn errno_comes_back() -> Check {
    // Among them those by which the ioctl itself fails: EPERM, EFAULT, EINVAL, ENOTTY and
    // EOPNOTSUPP.
    for errno in [1, 2, 11, 14, 22, 25, 38, 95, 133, 999, 1001, 4095] {
        let result = result_of(FAIL.get(), [errno as u64, 0, 0, 0])?;
        equal(format_args!("result of FAIL({errno})"), result, -errno)?;
    }
    Ok(())
}

/// The undecoded answer; fails if the ioctl fails.
fn result_of(number: u32, arguments: [u64; 4]) -> Result<i64, Failure> {
    let mut call = Call {
        number,
        arguments,
        ..Call::default()
    };
    RawDevice::open()?.call(&mut call)?;
    Ok(call.result)
}

fn thirty_two_bit_caller() -> CaseResult {
    match compat::is_disabled() {
        Ok(false) => passes(compat_call()),
        Ok(true) => Ok(Verdict::Skip(
            "the kernel's command line turns 32-bit system calls off".to_owned(),
        )),
        Err(error) => Err(format!("/proc/cmdline: {error}")),
    }
}

fn compat_call() -> Check {
    let device = RawDevice::open()?;
    let mut pages = Pages::new(1, Place::Low)?;
    let arguments = [u64::MAX, 1 << 63, 3, 0x4444_4444_4444_4444];
    let call = Call {
        number: MIX[4].get(),
        arguments,
        ..Call::default()
    };
    let address = u32::try_from(pages.address(0))?;
    let place = pages.bytes().as_mut_ptr().cast::<Call>();
    const { assert!(size_of::<Call>() <= crate::memory::PAGE) };
    // SAFETY: the page is large and aligned enough for the structure.
    unsafe { place.write(call) };
    // SAFETY: the structure is in memory of our own, and the command line does not turn
    // 32-bit system calls off.
    let status = unsafe { compat::ioctl(&device, CALL, address) };
    equal("status", status, 0)?;
    // SAFETY: written above, and every bit pattern is a value.
    let result = unsafe { place.read() }.result;
    equal("result", result, mix(4, arguments) as i64)
}
