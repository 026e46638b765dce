// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rings: a process that writes anything anywhere into its ring, is killed, or forks, harms
//! its own ring at most, and leaves nothing behind.

use crate::children::Role;
use crate::failure::{equal, passes, Check, Failure};
use crate::raw::RawDevice;
use crate::raw_ring::{Mapping, ENTRIES};
use hcall_guest::abi::ring::{
    RingEntry, RingLayout, REASON_SUBMISSION, STATUS_BROKEN, STATUS_RUNNING,
};
use hcall_guest::abi::ring_protocol::RingWord;
use hcall_guest::device::{Device, Ring};
use hcall_ktap::Suite;
use hcall_lab_contract::{mix, ArgumentSequence, MIX, SLOW};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// More than the host serves at a time: what is not torn down is missed soon.
const KILLS: usize = 24;
/// Rings filled with noise, and how often each.
const SCRIBBLES: u64 = 24;
const ROUNDS: usize = 8;
/// How long the host may take to see what was done to a ring.
const SEEN: Duration = Duration::from_secs(10);

pub(super) fn add(suite: Suite<'_>) -> Suite<'_> {
    suite
        .case(
            "ring: too many entries break the ring, and no other",
            || passes(overfull()),
        )
        .case(
            "ring: whatever is written into rings, the host lives",
            || passes(scribbles()),
        )
        .case("ring: kill -9 in flight leaves nothing behind", || {
            passes(killed())
        })
        .case(
            "ring: closed in flight, also while the host executes",
            || passes(closed()),
        )
        .case(
            "ring: a child of fork has the file and not the memory",
            || passes(forked()),
        )
}

/// A ring that is still served rightly.
fn still_works(ring: &mut Ring) -> Check {
    ring.submit(MIX[3], &[7, 8, 9], 3)?;
    equal("MIX3", ring.wait()?.result, Ok(mix(3, [7, 8, 9, 0])))
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) -> Check {
    let start = Instant::now();
    while !is_so() {
        if start.elapsed() > SEEN {
            return Err(Failure::new(format!("{what}: not within {SEEN:?}")));
        }
        std::thread::yield_now();
    }
    Ok(())
}

fn overfull() -> Check {
    let mut other = Ring::open(ENTRIES)?;
    let raw = RawDevice::open()?;
    let ring = raw.ring()?;
    let mapping = Mapping::of(&raw, &ring)?;
    wait_until("the ring runs", || {
        mapping.load(RingWord::Status) == STATUS_RUNNING
    })?;
    mapping.store(RingWord::SubmissionTail, ENTRIES + 1);
    raw.ring_kick()?;
    wait_until("the ring is broken", || {
        mapping.load(RingWord::Status) == STATUS_BROKEN
    })?;
    let reason = mapping.load(RingWord::Reason);
    equal("the reason", reason, REASON_SUBMISSION)?;
    let tail = mapping.load(RingWord::CompletionTail);
    equal("answers", tail, 0)?;
    equal("RING_WAIT returns", raw.ring_wait(tail, u64::MAX), Ok(()))?;
    equal("RING_KICK does nothing", raw.ring_kick(), Ok(()))?;
    still_works(&mut other)
}

fn scribbles() -> Check {
    let mut other = Ring::open(ENTRIES)?;
    let calls = Device::open()?.stats()?.panicked;
    let mut noise = ArgumentSequence::new(7);
    for seed in 0..SCRIBBLES {
        let raw = RawDevice::open()?;
        let ring = raw.ring()?;
        let mapping = Mapping::of(&raw, &ring)?;
        for round in 0..ROUNDS {
            for long in mapping.longs() {
                long.store(noise.next_arguments(1)[0], Ordering::Relaxed);
            }
            // Otherwise nearly every tail is far out of range, and ends the ring at once.
            if (seed + round as u64) % 2 == 0 {
                let head = mapping.load(RingWord::SubmissionHead);
                let some = (noise.next_arguments(1)[0] % 8) as u32;
                mapping.store(RingWord::SubmissionTail, head.wrapping_add(some));
            }
            raw.ring_kick()?;
        }
        still_works(&mut other)?;
    }
    noisy_entries(&mut noise)?;
    let panicked = Device::open()?.stats()?.panicked;
    equal("handlers that panicked", panicked - calls, 0)?;
    still_works(&mut other)
}

/// Indices as they must be, entries as they come: each gets an answer.
fn noisy_entries(noise: &mut ArgumentSequence) -> Check {
    let raw = RawDevice::open()?;
    let ring = raw.ring()?;
    let mapping = Mapping::of(&raw, &ring)?;
    let layout = RingLayout::new(ENTRIES).ok_or_else(|| Failure::new("no layout"))?;
    let start = layout.submission(0) as usize / size_of::<u64>();
    let words = size_of::<RingEntry>() * ENTRIES as usize / size_of::<u64>();
    for long in &mapping.longs()[start..start + words] {
        long.store(noise.next_arguments(1)[0], Ordering::Relaxed);
    }
    mapping.store(RingWord::SubmissionTail, ENTRIES);
    raw.ring_kick()?;
    wait_until("every entry is answered", || {
        mapping.load(RingWord::CompletionTail) == ENTRIES
    })?;
    let status = mapping.load(RingWord::Status);
    equal("the status", status, STATUS_RUNNING)
}

fn killed() -> Check {
    for _ in 0..KILLS {
        let (mut child, output) = Role::Flood.start(0)?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        equal("the child's line", line.trim(), "flooding")?;
        child.kill()?;
        let status = child.wait()?;
        equal("signal", status.signal(), Some(libc::SIGKILL))?;
    }
    still_works(&mut Ring::open(ENTRIES)?)
}

fn closed() -> Check {
    for executing in [0, 20] {
        for _ in 0..KILLS {
            let mut ring = Ring::open(ENTRIES)?;
            if executing > 0 {
                ring.submit(SLOW, &[executing], 0)?;
            }
            while ring.submit(MIX[4], &[1, 2, 3, 4], 0).is_ok() {}
            ring.flush()?;
        }
    }
    still_works(&mut Ring::open(ENTRIES)?)
}

fn forked() -> Check {
    let (mut child, output) = Role::Fork.start(0)?;
    let said: Vec<String> = BufReader::new(output).lines().collect::<Result<_, _>>()?;
    equal("what the child found", said, Vec::new())?;
    equal("the child", child.wait()?.success(), true)
}
