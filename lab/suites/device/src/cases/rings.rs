// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rings: every call is answered once, in order and rightly, without system calls and
//! without exits, and only if the process may make it.

use super::ring_children::STEADY_ENTRIES;
use crate::children::Role;
use crate::failure::{equal, passes, Check, Failure};
use crate::raw_ring::ENTRIES;
use crate::Rings;
use hcall_guest::abi::ioctl::NumberRange;
use hcall_guest::abi::number::{CORE_CALLS, EXIT, PROBE};
use hcall_guest::abi::{CallError, HypercallNumber, Transport};
use hcall_guest::device::{Device, DeviceError, Ring};
use hcall_guest::Errno;
use hcall_ktap::Suite;
use hcall_lab_contract::{mix, ArgumentSequence, FAIL, MIX, MIXED, SLOW, UNREGISTERED};
use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// A kick is at most every so many of them.
const CALLS_PER_REQUEST: u64 = 100;
/// Calls of each kind whose times are compared, and how often they are: the least of many short
/// times is one in which nothing else had the processors.
const TIMED_SINGLE_CALLS: u32 = 300;
const TIMED_RING_CALLS: u32 = 5000;
const TIMED_ROUNDS: usize = 25;
/// What a ring gains on single calls where the host's thread has a processor to itself.
const GAIN: f64 = 20.0;
/// Waits for a host that takes its time.
const SLOW_CALLS: u32 = 20;
const SLOW_MILLISECONDS: u64 = 50;
/// What a wait may take at most; a lost interrupt takes more.
const SLOW_LIMIT: Duration = Duration::from_millis(300);
/// Rings at once, each of a thread.
const THREADS: u64 = 4;
const CALLS_PER_THREAD: u64 = 5000;

pub(super) fn add(suite: Suite<'_>, transport: Transport, rings: Rings) -> Suite<'_> {
    let calls = rings.calls;
    suite
        .case(
            format!("ring: {calls} calls, each answered once, in order and rightly"),
            move || passes(each_once(transport, calls)),
        )
        .case(
            format!("ring: {calls} calls of a thread that may make no system call"),
            move || passes(no_system_call(calls)),
        )
        .case("ring: calls that policy forbids answer EPERM", || {
            passes(forbidden())
        })
        .case(
            "ring: a restricted file's ring is restricted, for ever",
            || passes(restricted()),
        )
        .case("ring: a file that may call nothing calls nothing", || {
            passes(nothing_allowed())
        })
        .case(
            "ring: the host's errnos come back, and the ring goes on",
            || passes(errnos()),
        )
        .case("ring: an interrupt ends a wait", || passes(interrupted()))
        .case(
            "ring: threads with a ring each, and single calls beside",
            move || passes(several(calls.min(CALLS_PER_THREAD))),
        )
        .case("ring: faster than single calls", move || {
            passes(faster(rings.host_processors))
        })
}

/// What the calls of a ring are due to be answered with, in order.
struct Due(VecDeque<(u64, u64)>);

/// Makes `count` calls of all arities through the ring and checks each answer.
fn check_calls(ring: &mut Ring, count: u64) -> Check {
    let mut sequence = ArgumentSequence::new(count);
    let mut due = Due(VecDeque::new());
    let (mut submitted, mut answered) = (0, 0);
    while answered < count {
        while submitted < count && ring.outstanding() < ring.entries() {
            let arity = (submitted % MIX.len() as u64) as usize;
            let arguments = sequence.next_arguments(arity);
            ring.submit(MIX[arity], &arguments[..arity], !submitted)?;
            due.0.push_back((!submitted, mix(arity as u64, arguments)));
            submitted += 1;
        }
        let answer = ring.wait()?;
        let expected = due.0.pop_front();
        let found = answer.result.map(|value| (answer.user_data, value));
        equal(format_args!("answer {answered}"), found.ok(), expected)?;
        answered += 1;
    }
    equal("more answers", ring.complete(), None)
}

/// A ring that comes, makes calls, and goes.
pub(super) fn some_calls() -> Check {
    let mut ring = Ring::over(Arc::new(Device::open()?), STEADY_ENTRIES)?;
    check_calls(&mut ring, 100)
}

fn mixed(device: &Device) -> Result<u64, Failure> {
    let mut all = 0;
    for arity in 0..MIX.len() as u64 {
        all += device.hcall1(MIXED, arity)?;
    }
    Ok(all)
}

fn each_once(transport: Transport, count: u64) -> Check {
    let device = Arc::new(Device::open()?);
    let mut ring = Ring::over(Arc::clone(&device), STEADY_ENTRIES)?;
    let ran = mixed(&device)?;
    let before = device.stats()?;
    check_calls(&mut ring, count)?;
    let after = device.stats()?;
    let requests = ring.requests();
    println!(
        "# {count} calls through a ring: {} kicks, {} waits",
        requests.kicks, requests.waits
    );
    equal("calls at the handlers", mixed(&device)? - ran, count)?;
    // What is counted here are the two requests for the statistics themselves, less one.
    let by_exit = match transport {
        Transport::Instruction => after.instruction - before.instruction,
        Transport::Carrier => after.carrier - before.carrier,
        _ => after.port - before.port,
    };
    equal("calls by exit meanwhile", by_exit, 1)?;
    equal("calls", after.calls - before.calls, count + 1)?;
    let few = requests.kicks <= count / CALLS_PER_REQUEST;
    equal(format_args!("few kicks: {requests:?}"), few, true)
}

fn no_system_call(calls: u64) -> Check {
    let (mut child, mut output) = Role::Steady.start(calls)?;
    let mut text = String::new();
    output.read_to_string(&mut text)?;
    let status = child.wait()?;
    equal(
        format_args!("the child, which said {text:?}"),
        status.success(),
        true,
    )?;
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    let (Some(Ok(kicks)), Some(Ok(wrong))) = (numbers.next(), numbers.next()) else {
        return Err(Failure::new(format!("the child said {text:?}")));
    };
    println!("# {calls} calls without a system call: {kicks} kicks by another thread");
    equal("wrong answers", wrong, 0)?;
    equal("few kicks", kicks <= calls / CALLS_PER_REQUEST, true)
}

/// Makes one call through a ring.
fn one(ring: &mut Ring, number: HypercallNumber) -> Result<Result<u64, CallError>, Failure> {
    ring.submit(number, &[], 0)?;
    Ok(ring.wait()?.result)
}

fn errno(errno: Errno) -> Result<u64, CallError> {
    Err(CallError::Errno(errno))
}

fn forbidden() -> Check {
    let mut ring = Ring::open(ENTRIES)?;
    for (number, name) in CORE_CALLS {
        if number.takes_gpa() {
            equal(name, one(&mut ring, number)?, errno(Errno::EPERM))?;
        }
    }
    // The VM goes on.
    equal("EXIT", one(&mut ring, EXIT)?, errno(Errno::EINVAL))?;
    let probe = one(&mut ring, PROBE)?;
    equal("PROBE", probe.is_ok(), true)
}

fn restricted() -> Check {
    let device = Arc::new(Device::open()?);
    let only = |number: HypercallNumber| NumberRange {
        first: number.get(),
        last: number.get(),
    };
    let allowed = [only(MIX[1]), only(MIXED)];
    device.restrict(&allowed)?;
    let mut ring = Ring::over(Arc::clone(&device), ENTRIES)?;
    let ran = device.hcall1(MIXED, 0)?;
    for _ in 0..ENTRIES {
        equal("MIX0", one(&mut ring, MIX[0])?, errno(Errno::EPERM))?;
    }
    equal("PROBE", one(&mut ring, PROBE)?, errno(Errno::EPERM))?;
    equal("MIX1", one(&mut ring, MIX[1])?, Ok(mix(1, [0; 4])))?;
    equal("MIX0 at its handler", device.hcall1(MIXED, 0)? - ran, 0)?;
    // What the host was told cannot change any more, not even to less.
    let busy = DeviceError::Request {
        request: "RESTRICT",
        errno: Errno::EBUSY,
    };
    equal("RESTRICT", device.restrict(&allowed[..1]), Err(busy))
}

fn nothing_allowed() -> Check {
    let device = Arc::new(Device::open()?);
    device.restrict(&[])?;
    let mut ring = Ring::over(device, ENTRIES)?;
    for number in [MIX[0], PROBE, FAIL, UNREGISTERED] {
        let answer = one(&mut ring, number)?;
        equal(number, answer, errno(Errno::EPERM))?;
    }
    Ok(())
}

fn errnos() -> Check {
    let mut ring = Ring::open(ENTRIES)?;
    let unknown = one(&mut ring, UNREGISTERED)?;
    equal("an unknown number", unknown, errno(Errno::ENOSYS))?;
    ring.submit(FAIL, &[5], 1)?;
    ring.submit(MIX[2], &[1, 2], 2)?;
    let failed = ring.wait()?;
    equal("FAIL(5)", failed.result, errno(Errno::EIO))?;
    equal("its user data", failed.user_data, 1)?;
    equal("MIX2", ring.wait()?.result, Ok(mix(2, [1, 2, 0, 0])))
}

/// How often the module's interrupt has come.
fn interrupts() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/interrupts")?;
    let line = text
        .lines()
        .find(|line| line.split_whitespace().last() == Some("hcall"))
        .ok_or_else(|| Failure::new("/proc/interrupts does not list hcall"))?;
    // The number of the interrupt, then a count for each processor, then names.
    Ok(line
        .split_whitespace()
        .skip(1)
        .map_while(|word| word.parse::<u64>().ok())
        .sum())
}

pub(super) fn interrupted() -> Check {
    let before = interrupts()?;
    let waits = slow_calls()?;
    let came = interrupts()? - before;
    println!("# {SLOW_CALLS} calls of {SLOW_MILLISECONDS} ms: {waits} waits, {came} interrupts");
    let due = u64::from(SLOW_CALLS);
    equal("each call was waited for", waits >= due, true)?;
    equal("each wait was ended by an interrupt", came >= due, true)
}

/// Calls that the host takes its time for, each waited for without spinning; returns how
/// often the kernel was asked to sleep.
pub(super) fn slow_calls() -> Result<u64, Failure> {
    let mut ring = Ring::open(ENTRIES)?;
    ring.set_spins(0);
    for _ in 0..SLOW_CALLS {
        let start = Instant::now();
        ring.submit(SLOW, &[SLOW_MILLISECONDS], 0)?;
        equal("SLOW", ring.wait()?.result, Ok(0))?;
        let took = start.elapsed();
        let prompt = took <= SLOW_LIMIT;
        equal(format_args!("prompt: {took:?}"), prompt, true)?;
    }
    Ok(ring.requests().waits)
}

fn several(calls: u64) -> Check {
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            thread::spawn(move || -> Check {
                let device = Arc::new(Device::open()?);
                let mut ring = Ring::over(Arc::clone(&device), ENTRIES)?;
                for _ in 0..10 {
                    check_calls(&mut ring, calls / 10)?;
                    equal("a single call", device.hcall0(MIX[0])?, mix(0, [0; 4]))?;
                }
                Ok(())
            })
        })
        .collect();
    for thread in threads {
        thread
            .join()
            .map_err(|_| Failure::new("a thread panicked"))??;
    }
    Ok(())
}

fn faster(host_processors: usize) -> Check {
    let device = Arc::new(Device::open()?);
    let mut ring = Ring::over(Arc::clone(&device), STEADY_ENTRIES)?;
    let (mut single, mut through_ring) = (Duration::MAX, Duration::MAX);
    for _ in 0..TIMED_ROUNDS {
        let start = Instant::now();
        for _ in 0..TIMED_SINGLE_CALLS {
            device.hcall4(MIX[4], 1, 2, 3, 4)?;
        }
        single = single.min(start.elapsed());
        let start = Instant::now();
        stream(&mut ring, TIMED_RING_CALLS)?;
        through_ring = through_ring.min(start.elapsed());
    }
    let single = single.as_secs_f64() / f64::from(TIMED_SINGLE_CALLS);
    let through_ring = through_ring.as_secs_f64() / f64::from(TIMED_RING_CALLS);
    let gain = single / through_ring;
    println!(
        "# single {:.2} us, ring {:.3} us a call: {gain:.1} times faster (host: {host_processors} processors)",
        single * 1e6,
        through_ring * 1e6,
    );
    if host_processors < 2 {
        return Ok(());
    }
    equal(
        format_args!("at least {GAIN}, is {gain:.1}"),
        gain >= GAIN,
        true,
    )
}

/// Keeps the ring full until `count` calls are answered.
fn stream(ring: &mut Ring, count: u32) -> Check {
    let (mut submitted, mut answered) = (0, 0);
    while answered < count {
        while submitted < count && ring.submit(MIX[4], &[1, 2, 3, 4], 0).is_ok() {
            submitted += 1;
        }
        ring.wait()?;
        answered += 1;
        while ring.complete().is_some() {
            answered += 1;
        }
    }
    Ok(())
}
