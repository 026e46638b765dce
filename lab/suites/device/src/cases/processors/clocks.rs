// SPDX-License-Identifier: MIT OR Apache-2.0
//! Time on several processors: one clock, and timers on each.

use super::interrupts::{Counts, BETWEEN, TIMER};
use super::on_each;
use crate::failure::{equal, Check, Failure};
use rustix::time::{
    timerfd_create, timerfd_settime, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags,
    Timespec,
};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// How often the time goes round.
const LAPS: u64 = 200;
/// How often each kind of timer is set on each processor, and for how long.
const TIMERS: u64 = 10;
const PERIOD: Duration = Duration::from_millis(20);
/// How late a timer may be where all processors are emulated by one that is busy.
const LATENESS: Duration = Duration::from_secs(1);

const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

pub(super) fn source() -> Check {
    let found = std::fs::read_to_string(SOURCE)?;
    equal(SOURCE, found.trim(), "kvm-clock")
}

/// One thread on each processor: each sleeps until the one before it sends the time, and
/// must not find its own clock behind that.
pub(super) fn wake_in_turn(count: usize) -> Check {
    let start = Instant::now();
    let (mut senders, receivers): (Vec<_>, Vec<_>) = (0..count)
        .map(|_| UnixStream::pair())
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .unzip();
    // Each takes from the one before it and sends to the one after it.
    senders.rotate_left(1);
    // A thread that fails drops its ends, which ends the others as well.
    let seats: Vec<_> = receivers
        .into_iter()
        .zip(senders)
        .map(|seat| Mutex::new(Some(seat)))
        .collect();
    let before = Counts::read(&BETWEEN, count)?;
    on_each(count, |processor| {
        let seat = seats[processor]
            .lock()
            .ok()
            .and_then(|mut seat| seat.take());
        let (from, to) = seat.ok_or_else(|| Failure::new("a thread has no seat"))?;
        pass_time(processor, start, from, to)
    })?;
    // A processor that was not asleep yet needed no interrupt.
    before.risen_by(LAPS / 2, &BETWEEN)
}

fn pass_time(processor: usize, start: Instant, mut from: UnixStream, mut to: UnixStream) -> Check {
    let now = || start.elapsed().as_nanos() as u64;
    if processor == 0 {
        to.write_all(&now().to_le_bytes())?;
    }
    for lap in 0..LAPS {
        let mut time = [0; 8];
        from.read_exact(&mut time)?;
        let (sent, received) = (u64::from_le_bytes(time), now());
        if received < sent {
            return Err(Failure::new(format!(
                "lap {lap}: processor {processor} is {} ns behind the one before it",
                sent - received
            )));
        }
        // The first processor takes the time from the last one and keeps it.
        if processor != 0 || lap + 1 < LAPS {
            to.write_all(&now().to_le_bytes())?;
        }
    }
    Ok(())
}

/// On all processors at once, and neither early nor late.
pub(super) fn timers_fire(count: usize) -> Check {
    let before = Counts::read(&TIMER, count)?;
    let latest = Mutex::new(Duration::ZERO);
    on_each(count, |_| {
        for _ in 0..TIMERS {
            for wait in [sleep, wait_for_timerfd] {
                let set = Instant::now();
                wait()?;
                let late = set.elapsed().checked_sub(PERIOD);
                let late = late.ok_or_else(|| {
                    Failure::new(format!(
                        "{:?} after it was set for {PERIOD:?}",
                        set.elapsed()
                    ))
                })?;
                let mut latest = latest
                    .lock()
                    .map_err(|_| Failure::new("a thread panicked"))?;
                *latest = late.max(*latest);
            }
        }
        Ok(())
    })?;
    let latest = latest
        .into_inner()
        .map_err(|_| Failure::new("a thread panicked"))?;
    println!("# the latest timer was {latest:?} late");
    equal(
        "a timer is late by more than the limit",
        latest > LATENESS,
        false,
    )?;
    before.risen_by(2 * TIMERS, &TIMER)
}

fn sleep() -> Check {
    thread::sleep(PERIOD);
    Ok(())
}

fn wait_for_timerfd() -> Check {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::empty())?;
    let never = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let once = Itimerspec {
        it_interval: never,
        it_value: Timespec {
            tv_sec: 0,
            tv_nsec: PERIOD.as_nanos() as i64,
        },
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once)?;
    let mut expirations = [0; 8];
    File::from(timer).read_exact(&mut expirations)?;
    equal("expirations", u64::from_ne_bytes(expirations), 1)
}
