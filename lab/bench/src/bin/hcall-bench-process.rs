// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls of a process through `/dev/hcall`, measured in the guest: `time`, or
//! `instructions` where the time-stamp counter counts them.

use hcall_abi::batch::BatchEntry;
use hcall_abi::ioctl::{Call, CALL, DEVICE_PATH, IOCTL_MAGIC};
use hcall_abi::number::{ECHO, PANIC};
use hcall_abi::transport::PORT;
use hcall_abi::{HypercallNumber, Transport};
use hcall_guest::batch::{Batch, OnError};
use hcall_guest::device::{Device, DeviceError, Ring};
use hcall_measurement::{Measurement, Unit};
use std::arch::asm;
use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A request of the device's own that it does not know, without an argument.
const UNKNOWN: u64 = ((IOCTL_MAGIC as u64) << 8) | 0xff;

/// The kernel's way to the call and back may take this many times the instructions of a
/// request that returns at once.
const LIMIT: f64 = 1.3;

/// Every count is the least of so many.
const ROUNDS: u32 = 400;

fn main() -> ExitCode {
    let mode = std::env::args().nth(1).unwrap_or_default();
    let measured = match mode.as_str() {
        "time" => time(),
        "instructions" => instructions(),
        _ => Err("usage: hcall-bench-process time|instructions".into()),
    };
    match measured {
        Ok(measurements) => {
            for measurement in measurements {
                println!("{}", measurement.line());
            }
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

type Measured = Result<Vec<Measurement>, String>;

fn transport_of(device: &Device) -> Result<Transport, String> {
    let raw = device.info().transport;
    Transport::from_raw(raw).ok_or_else(|| format!("unknown transport {raw}"))
}

/// How many calls are in one request, where they are batched.
const BATCHES: [usize; 4] = [1, 16, 64, 256];

fn time() -> Measured {
    let device = Device::open().map_err(|error| error.to_string())?;
    let transport = transport_of(&device)?;
    let mut measurements = Vec::new();
    let name = format!("process/{transport}, a call through /dev/hcall");
    let alone = time_of(name, 1, || device.hcall1(ECHO, 1).is_ok())?;
    measurements.extend(through_a_ring(transport, alone.as_ref())?);
    measurements.extend(alone);
    for size in BATCHES {
        let mut memory = vec![BatchEntry::default(); size];
        let name = format!("process/{transport}, a call in a batch of {size}");
        measurements.extend(time_of(name, size, || {
            let mut calls = Batch::new(&mut memory);
            for value in 0..size as u64 {
                if calls.push(ECHO, &[value]).is_err() {
                    return false;
                }
            }
            device.batch(&mut calls, OnError::Continue).ok() == Some(size)
                && calls.results().eq((0..size as u64).map(Ok))
        })?);
    }
    Ok(measurements)
}

/// Calls between two looks at the clock, where they go through a ring.
const RING_CALLS: u64 = 5_000;
const RING_ENTRIES: u32 = 1_024;

/// Calls through a ring: the time of each, how that compares with one `alone`, and exits.
fn through_a_ring(transport: Transport, alone: Option<&Measurement>) -> Measured {
    let say = |error: DeviceError| error.to_string();
    let device = Arc::new(Device::open().map_err(say)?);
    let mut ring = Ring::over(Arc::clone(&device), RING_ENTRIES).map_err(say)?;
    let exits_before = exits(&device)?;
    let mut calls = 0;
    let name = format!("process/{transport}, a call through a ring");
    let time = time_of(name, RING_CALLS as usize, || {
        calls += RING_CALLS;
        stream(&mut ring, RING_CALLS).is_ok_and(|right| right)
    })?;
    // A kick is an exit that is counted nowhere else; the call that asked before was one.
    let exits = exits(&device)? - exits_before - 1 + ring.requests().kicks;
    let name = format!("process/{transport}, exits for a call through a ring");
    let mut measurements = vec![Measurement::new(
        name,
        exits as f64 / calls as f64,
        Unit::PerCall,
    )];
    if let (Some(alone), Some(time)) = (alone, &time) {
        let name = format!("process/{transport}, a call alone against one through a ring");
        measurements.push(Measurement::new(name, alone.value / time.value, Unit::Gain));
    }
    measurements.extend(time);
    Ok(measurements)
}

/// Calls of all the guest that came by an exit; each question is one.
fn exits(device: &Device) -> Result<u64, String> {
    let stats = device.stats().map_err(|error| error.to_string())?;
    Ok(stats.instruction + stats.carrier + stats.port)
}

/// Keeps the ring full until `count` calls are answered; says whether all were right.
fn stream(ring: &mut Ring, count: u64) -> Result<bool, DeviceError> {
    let (mut submitted, mut answered, mut right) = (0, 0, true);
    while answered < count {
        while submitted < count && ring.submit(ECHO, &[submitted], submitted).is_ok() {
            submitted += 1;
        }
        let mut answer = Some(ring.wait()?);
        while let Some(found) = answer {
            right &= found.user_data == answered && found.result == Ok(answered);
            answered += 1;
            answer = ring.complete();
        }
    }
    Ok(right)
}

/// Microseconds for each of the `calls` that `work` makes; it says whether it went well.
fn time_of(
    name: String,
    calls: usize,
    mut work: impl FnMut() -> bool,
) -> Result<Option<Measurement>, String> {
    const TURN: Duration = Duration::from_millis(20);
    const TURNS: usize = 25;
    let mut samples = Vec::new();
    for _ in 0..TURNS {
        let start = Instant::now();
        let mut rounds = 0_u32;
        while start.elapsed() < TURN {
            for _ in 0..10 {
                if !work() {
                    return Err(format!("{name}: ECHO gave something else"));
                }
            }
            rounds += 10;
        }
        let each = start.elapsed().as_secs_f64() / f64::from(rounds) / calls as f64;
        samples.push(each * 1e6);
    }
    Ok(Measurement::median_of(name, samples, Unit::Microseconds))
}

fn instructions() -> Measured {
    let device = Device::open().map_err(|error| error.to_string())?;
    let transport = transport_of(&device)?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(DEVICE_PATH)
        .map_err(|error| format!("{DEVICE_PATH}: {error}"))?;

    let nothing = least(|| {});
    let refused = least(|| refuse(&file)) - nothing;
    let denied = least(|| call(&file, PANIC)) - nothing;
    let mut counts = vec![
        ("an ioctl that returns ENOTTY", refused),
        ("a CALL that policy refuses", denied),
    ];
    let mut measurements = Vec::new();
    let whole = least(|| call(&file, ECHO)) - nothing;
    let sdk = least(|| device.hcall1(ECHO, 1)) - nothing;
    check(&file, &device)?;

    // Last, since a process that may use ports is slower in its system calls.
    if let Some(trap) = BareTrap::of(transport)? {
        let exit = least(|| trap.execute()) - nothing - BARE_MOVES;
        counts.extend([
            ("the exit, everybody's", exit),
            ("CALL, without the exit", without(whole, exit)?),
            ("hcall1 of the SDK, without the exit", without(sdk, exit)?),
        ]);
        let ratio = without(whole, exit)? as f64 / refused as f64;
        let name = format!("instructions of a process's call/CALL against ENOTTY, {transport}");
        measurements.push(Measurement::new(name, ratio, Unit::Ratio).at_most(LIMIT));
    }
    measurements.extend(counts.into_iter().map(|(name, count)| {
        let name = format!("instructions of a process's call/{name}, {transport}");
        Measurement::new(name, count as f64, Unit::Instructions)
    }));
    Ok(measurements)
}

/// What is left of a call without its exit.
fn without(whole: u64, exit: u64) -> Result<u64, String> {
    let left = whole.checked_sub(exit);
    left.ok_or_else(|| format!("a call of {whole} instructions, and its exit alone {exit}"))
}

/// The calls that were counted do what they are meant to.
fn check(file: &File, device: &Device) -> Result<(), String> {
    if refuse(file) != -1 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ENOTTY) {
        return Err("the unknown request was not refused with ENOTTY".into());
    }
    if call(file, ECHO) != Some(1) || device.hcall1(ECHO, 1).ok() != Some(1) {
        return Err("ECHO(1) did not give 1".into());
    }
    if call(file, PANIC).is_some() {
        return Err("a process's PANIC was not refused".into());
    }
    Ok(())
}

#[inline(always)]
fn refuse(file: &File) -> i32 {
    // SAFETY: the device knows no such request, and is given no address.
    unsafe { libc::ioctl(file.as_raw_fd(), UNKNOWN, 0) }
}

/// A call with argument 1 by the ioctl as it is; the host's answer.
#[inline(always)]
fn call(file: &File, number: HypercallNumber) -> Option<i64> {
    let mut call = Call {
        number: number.get(),
        arguments: [1, 0, 0, 0],
        ..Default::default()
    };
    // SAFETY: the kernel reads and writes the structure, and nothing else.
    let status = unsafe { libc::ioctl(file.as_raw_fd(), u64::from(CALL), &raw mut call) };
    (status == 0).then_some(black_box(&call).result)
}

/// The time-stamp counter, read after everything before it.
#[inline(always)]
fn time_stamp() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter.
    unsafe { asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nostack)) };
    (u64::from(high) << 32) | u64::from(low)
}

/// The least difference of the counter around `work`.
#[inline(always)]
fn least<T>(mut work: impl FnMut() -> T) -> u64 {
    let round = |_| {
        let start = time_stamp();
        let _ = black_box(work());
        time_stamp() - start
    };
    (0..ROUNDS).map(round).min().unwrap_or_default()
}

/// How many instructions stand around the trap.
const BARE_MOVES: u64 = 4;

/// The trap of the transport Port, executed by this process: the exit that the module's
/// call ends in, without the kernel's way to it.
///
/// There is none for the instruction: where KVM has no help of the processor's to skip it
/// (NRIPS, which QEMU does not emulate) it decodes it, walking page tables which are not as
/// deep for the kernel's text as for a process's.
struct BareTrap;

impl BareTrap {
    fn of(transport: Transport) -> Result<Option<Self>, String> {
        if transport != Transport::Port {
            return Ok(None);
        }
        // SAFETY: gives this process access to the port of hypercalls.
        match unsafe { libc::ioperm(u64::from(PORT), size_of::<u32>() as u64, 1) } {
            0 => Ok(Some(Self)),
            _ => Err(format!("ioperm: {}", std::io::Error::last_os_error())),
        }
    }

    #[inline(always)]
    fn execute(&self) {
        // SAFETY: the host offers the port; ECHO does nothing with its arguments.
        unsafe {
            asm!(
                "mov {one:e}, 1", "xchg {one}, rbx", "mov eax, {number}", "out {port}, eax",
                "xchg {one}, rbx",
                one = out(reg) _, number = const ECHO.get(), port = const PORT, out("rax") _,
            );
        }
    }
}
