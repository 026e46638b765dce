// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tracepoint `hcall:hcall_call`: every call that the module makes, and nothing else.

use crate::failure::{equal, Check, Failure};
use crate::perf::Counter;
use crate::tracefs::{if_traced, Event, Instance, EVENT, TRACEFS};
use hcall_guest::abi::batch::BatchEntry;
use hcall_guest::abi::number::{self, BATCH, ECHO, RANDOM, RING_SETUP, RING_TEARDOWN};
use hcall_guest::batch::{Batch, OnError};
use hcall_guest::device::{Buffer, Device};
use hcall_guest::Errno;
use hcall_ktap::Suite;
use hcall_lab_contract::{mix, MIX, SLOW, SUM, UNREGISTERED};
use std::path::Path;

/// The fields, as `perf`, `trace-cmd` and `bpftrace` find them.
const FIELDS: [&str; 7] = [
    "field:u32 number;",
    "field:u64 arg0;",
    "field:u64 arg1;",
    "field:u64 arg2;",
    "field:u64 arg3;",
    "field:s64 result;",
    "field:u64 duration;",
];

pub(super) fn add(suite: Suite<'_>) -> Suite<'_> {
    suite
        .case("the tracepoint is there, with its fields", || {
            if_traced(fields)
        })
        .case("the tracepoint shows a CALL", || if_traced(call))
        .case("the tracepoint shows how long a call took", || {
            if_traced(duration)
        })
        .case("the tracepoint shows a host's errno", || if_traced(errno))
        .case("the tracepoint shows a CALL_BUFFER", || if_traced(buffer))
        .case("the tracepoint shows a BATCH as one call", || {
            if_traced(batch)
        })
        .case(
            "the tracepoint shows a ring's set-up and end, not its calls",
            || if_traced(ring),
        )
        .case("the tracepoint does not show what policy refused", || {
            if_traced(refused)
        })
        .case("the tracepoint is silent when off, and off again", || {
            if_traced(silent)
        })
        .case("the tracepoint can be filtered", || if_traced(filtered))
        .case("the tracepoint misses no call of four threads", || {
            if_traced(threads)
        })
        .case("perf counts calls by the tracepoint", || if_traced(perf))
}

fn fields() -> Check {
    let format = std::fs::read_to_string(Path::new(TRACEFS).join(EVENT).join("format"))?;
    for field in FIELDS {
        equal(
            format_args!("{field} in {format}"),
            format.contains(field),
            true,
        )?;
    }
    Ok(())
}

/// An event of this process's, of whatever duration.
fn due(found: &Event, number: u32, arguments: [u64; 4], result: i64) -> Check {
    let due = Event {
        pid: std::process::id(),
        number,
        arguments,
        result,
        nanoseconds: found.nanoseconds,
    };
    equal("the event", found, &due)?;
    equal("it took time", found.nanoseconds > 0, true)
}

fn call() -> Check {
    let device = Device::open()?;
    let instance = Instance::tracing("call")?;
    let arguments = [1, 1 << 32, 0, u64::MAX];
    device.call(MIX[4], &arguments)?;
    let result = mix(4, arguments) as i64;
    due(&instance.event()?, MIX[4].get(), arguments, result)
}

fn duration() -> Check {
    const MILLISECONDS: u64 = 20;
    let device = Device::open()?;
    let instance = Instance::tracing("duration")?;
    device.hcall1(SLOW, MILLISECONDS)?;
    let nanoseconds = instance.event()?.nanoseconds;
    // Clocks of host and guest differ a little.
    let least = MILLISECONDS * 1_000_000 * 9 / 10;
    equal(nanoseconds, nanoseconds >= least, true)
}

fn errno() -> Check {
    let device = Device::open()?;
    let instance = Instance::tracing("errno")?;
    equal("unknown", device.hcall0(UNREGISTERED).is_err(), true)?;
    let enosys = -i64::from(Errno::ENOSYS.get());
    due(&instance.event()?, UNREGISTERED.get(), [0; 4], enosys)
}

fn buffer() -> Check {
    let device = Device::open()?;
    let instance = Instance::tracing("buffer")?;
    device.call_buffer(SUM, &[], Buffer::In(&[1, 2, 3]), &[])?;
    let event = instance.event()?;
    let [gpa, ..] = event.arguments;
    equal("a page", (gpa != 0, gpa % 4096), (true, 0))?;
    due(&event, SUM.get(), [gpa, 3, 0, 0], 6)
}

fn batch() -> Check {
    const CALLS: usize = 5;
    let device = Device::open()?;
    let mut entries = [BatchEntry::default(); CALLS];
    let mut batch = Batch::new(&mut entries);
    for value in 0..CALLS as u64 {
        batch.push(ECHO, &[value])?;
    }
    let instance = Instance::tracing("batch")?;
    device.batch(&mut batch, OnError::Continue)?;
    let event = instance.event()?;
    let [gpa, ..] = event.arguments;
    let count = CALLS as u64;
    due(&event, BATCH.get(), [gpa, count, 0, 0], count as i64)
}

fn ring() -> Check {
    let instance = Instance::tracing("ring")?;
    super::rings::some_calls()?;
    let numbers: Vec<u32> = instance
        .events()?
        .iter()
        .map(|event| event.number)
        .collect();
    equal(
        "calls",
        numbers,
        vec![RING_SETUP.get(), RING_TEARDOWN.get()],
    )
}

fn refused() -> Check {
    let device = Device::open()?;
    let instance = Instance::tracing("refused")?;
    equal("RANDOM", device.hcall2(RANDOM, 0x1000, 8).is_err(), true)?;
    equal("calls", instance.events()?, Vec::new())
}

fn silent() -> Check {
    let device = Device::open()?;
    let instance = Instance::make("silent")?;
    let count = || Ok::<usize, Failure>(instance.events()?.len());
    device.hcall1(ECHO, 1)?;
    equal("calls before", count()?, 0)?;
    instance.switch("1")?;
    device.hcall1(ECHO, 2)?;
    equal("calls", count()?, 1)?;
    instance.switch("0")?;
    device.hcall1(ECHO, 3)?;
    equal("calls after", count()?, 1)
}

fn filtered() -> Check {
    let device = Device::open()?;
    let instance = Instance::make("filtered")?;
    let number = number::ECHO.get();
    instance.write(
        "filter",
        &format!("number == {number} && arg0 >= 5 && result != 6"),
    )?;
    instance.switch("1")?;
    for value in 4..8 {
        device.hcall1(ECHO, value)?;
        device.hcall1(MIX[1], value)?;
    }
    let events = instance.events()?;
    let seen: Vec<u64> = events.iter().map(|event| event.arguments[0]).collect();
    equal("arguments", seen, vec![5, 7])
}

fn threads() -> Check {
    const THREADS: u64 = 4;
    const CALLS: u64 = 100;
    let device = Device::open()?;
    let instance = Instance::tracing("threads")?;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let device = &device;
            scope.spawn(move || {
                // What is missing is found below.
                for call in 0..CALLS {
                    let _ = device.hcall1(ECHO, thread * CALLS + call);
                }
            });
        }
    });
    let mut results: Vec<i64> = instance
        .events()?
        .iter()
        .map(|event| event.result)
        .collect();
    results.sort_unstable();
    let all = 0..(THREADS * CALLS) as i64;
    equal("results", results, all.collect())
}

fn perf() -> Check {
    const CALLS: u64 = 50;
    let device = Device::open()?;
    let mut counter = Counter::start()?;
    for value in 0..CALLS {
        device.hcall1(ECHO, value)?;
    }
    equal("calls", counter.count()?, CALLS)
}
