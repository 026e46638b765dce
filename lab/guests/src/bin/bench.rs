// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls to be measured, as the command line says:
//!
//! * `echo N` – N times ECHO from each CPU, all at once;
//! * `batch N SIZE` – N batches of SIZE times ECHO, filled, made and read;
//! * `ring N SINGLE` – N times ECHO through a ring and SINGLE times one by one: prints
//!   `single NANOSECONDS` and `ring NANOSECONDS EXITS`;
//! * `instructions` – what the SDK executes for a call, where the time-stamp counter counts
//!   instructions: prints `NAME COUNT` lines.
#![no_std]
#![no_main]

use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use hcall_guest::abi::batch::BatchEntry;
use hcall_guest::abi::layout::Clock;
use hcall_guest::abi::number::ECHO;
use hcall_guest::abi::ring::RingLayout;
use hcall_guest::abi::transport::PORT;
use hcall_guest::batch::{Batch, OnError};
use hcall_guest::unikernel::ring::{RingSpace, UnikernelRing};
use hcall_guest::unikernel::smp::{cpu_count, start_others, StartError};
use hcall_guest::unikernel::{batch, command_line, entry, exit, println, stats, time};
use hcall_guest::{hcall1, hcall4, host, Trap};
use hcall_lab_contract::{NO_OTHER_CPUS, RING_ENTRIES};
use hcall_lab_guests::stream::stream;

entry!(main);

/// How many calls each CPU makes.
static CALLS: AtomicU64 = AtomicU64::new(0);
/// CPUs that may begin, so that all do so together, and CPUs that are done.
static BEGIN: AtomicU32 = AtomicU32::new(0);
static DONE: AtomicU32 = AtomicU32::new(0);

fn main() {
    let mut words = command_line().split_whitespace();
    let what = words.next().unwrap_or_default();
    let mut number = || {
        let word = words.next()?;
        Some(word.parse().expect("a number"))
    };
    match (what, number(), number()) {
        ("echo", Some(calls), None) => echo_on_all(calls),
        ("batch", Some(count), Some(size)) => batches(count, size as usize),
        ("ring", Some(calls), Some(single_calls)) => through_a_ring(calls, single_calls),
        ("instructions", None, None) => instructions(),
        _ => panic!("unknown command line {:?}", command_line()),
    }
}

fn echo_on_all(calls: u64) {
    CALLS.store(calls, Ordering::Relaxed);
    // A host with one CPU need not be able to start others.
    let count = match cpu_count() {
        Ok(1) => 1,
        _ => match start_others(echo) {
            Ok(count) => count,
            Err(error @ StartError::NotStarted(_)) => {
                println!("{error}");
                exit(NO_OTHER_CPUS)
            }
            Err(error) => panic!("{error}"),
        },
    };
    BEGIN.store(1, Ordering::Release);
    echo(0);
    while DONE.load(Ordering::Acquire) < count {
        core::hint::spin_loop();
    }
}

fn echo(_cpu: u32) {
    while BEGIN.load(Ordering::Acquire) == 0 {
        core::hint::spin_loop();
    }
    for counter in 0..CALLS.load(Ordering::Relaxed) {
        assert_eq!(hcall1(ECHO, counter), Ok(counter));
    }
    DONE.fetch_add(1, Ordering::Release);
}

/// The entries of the largest batch.
const LARGEST: usize = 256;
static mut ENTRIES: [BatchEntry; LARGEST] = [BatchEntry::new(ECHO, [0; 4]); LARGEST];

fn batches(count: u64, size: usize) {
    // SAFETY: the only reference, made once.
    let memory = unsafe { (&raw mut ENTRIES).as_mut() }.expect("a static has an address");
    for _ in 0..count {
        let mut calls = Batch::new(&mut memory[..size]);
        for value in 0..size as u64 {
            calls.push(ECHO, &[value]).expect("there is memory");
        }
        assert_eq!(batch(&mut calls, OnError::Continue), Ok(size));
        assert!(calls.results().eq((0..size as u64).map(Ok)));
    }
}

const RING_BYTES: usize = match RingLayout::new(RING_ENTRIES) {
    Some(layout) => layout.bytes() as usize,
    None => panic!("a power of two"),
};
static RING: RingSpace<RING_BYTES> = RingSpace::new();

fn through_a_ring(calls: u64, single_calls: u64) {
    let start = nanoseconds();
    for value in 0..single_calls {
        assert_eq!(hcall1(ECHO, value), Ok(value));
    }
    println!("single {}", nanoseconds() - start);

    let mut ring = UnikernelRing::set_up(&RING, RING_ENTRIES).expect("a ring");
    let exits_before = exits();
    let start = nanoseconds();
    let value = |index| index;
    let arguments = |index| [index, 0, 0, 0];
    let doorbells = stream(&mut ring, RING_ENTRIES, calls, ECHO, arguments, value);
    let elapsed = nanoseconds() - start;
    // Not the two calls of TIME, nor the second of STATS.
    let exits = exits() - exits_before - 3 + doorbells;
    println!("ring {elapsed} {exits}");
}

fn nanoseconds() -> u64 {
    let now = time(Clock::Monotonic).expect("the monotonic clock");
    now.seconds * 1_000_000_000 + u64::from(now.nanoseconds)
}

/// Calls that came by an exit; each call of STATS is one.
fn exits() -> u64 {
    let stats = stats().expect("STATS");
    stats.instruction + stats.carrier + stats.port
}

/// Every count is the least of so many.
const ROUNDS: u32 = 200;

/// The time-stamp counter, read after everything before it.
fn time_stamp() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter.
    unsafe { asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nostack)) };
    (u64::from(high) << 32) | u64::from(low)
}

/// The least difference of the counter around `work`.
#[inline(always)]
fn least(mut work: impl FnMut()) -> u64 {
    (0..ROUNDS)
        .map(|_| {
            let start = time_stamp();
            work();
            time_stamp() - start
        })
        .min()
        .unwrap_or_default()
}

fn instructions() {
    let trap = host().expect("a host").trap;
    let nothing = least(|| {});
    let bare = least(|| bare_trap(trap)) - nothing - BARE_MOVES;
    let sdk_1 = least(|| assert!(hcall1(ECHO, 1).is_ok())) - nothing;
    let sdk_4 = least(|| assert!(hcall4(ECHO, 1, 2, 3, 4).is_ok())) - nothing;
    println!("trap {bare}");
    println!("hcall1 {}", sdk_1 - bare);
    println!("hcall4 {}", sdk_4 - bare);
}

/// How many instructions `bare_trap` executes around the trap.
const BARE_MOVES: u64 = 4;

/// ECHO(1) with nothing around it; the other arguments are whatever stands in the registers.
#[inline(always)]
fn bare_trap(trap: Trap) {
    // SAFETY: the host offers the trap; ECHO does nothing with its arguments.
    unsafe {
        match trap {
            Trap::Vmmcall => asm!(
                "mov {one:e}, 1",
                "xchg {one}, rbx",
                "mov eax, {number}",
                "vmmcall",
                "xchg {one}, rbx",
                one = out(reg) _,
                number = const ECHO.get(), out("rax") _,
            ),
            Trap::Vmcall => asm!(
                "mov {one:e}, 1",
                "xchg {one}, rbx",
                "mov eax, {number}",
                "vmcall",
                "xchg {one}, rbx",
                one = out(reg) _,
                number = const ECHO.get(), out("rax") _,
            ),
            _ => asm!(
                "mov {one:e}, 1",
                "xchg {one}, rbx",
                "mov eax, {number}",
                "out {port}, eax",
                "xchg {one}, rbx",
                one = out(reg) _,
                number = const ECHO.get(), port = const PORT, out("rax") _,
            ),
        }
    }
}
