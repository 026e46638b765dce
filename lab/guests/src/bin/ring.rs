// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls through a ring, every answer checked, against single calls: prints how long each
//! took and how often the doorbell was rung. Then an idle ring, and rings that a hostile
//! guest breaks.
//!
//! The command line says how many calls: through the ring, and one by one.
#![no_std]
#![no_main]

use core::ptr::NonNull;
use hcall_guest::abi::cpuid::Features;
use hcall_guest::abi::layout::Clock;
use hcall_guest::abi::number::{ECHO, EXIT, PROBE};
use hcall_guest::abi::ring::{
    RingLayout, RingSetup, FLAG_PROCESS, REASON_SUBMISSION, STATUS_RUNNING,
};
use hcall_guest::abi::ring_protocol::{RingMemory, RingWord};
use hcall_guest::abi::version::PROBE_RESULT;
use hcall_guest::ring::{Doorbell, PortDoorbell, Rest, RingRegion, RingStatus};
use hcall_guest::unikernel::ring::{RingError, RingSpace, UnikernelRing};
use hcall_guest::unikernel::{command_line, entry, println, stats, time};
use hcall_guest::{core_calls, hcall0, hcall2, Errno, Gpa};
use hcall_lab_contract::{mix, MIX, RING_ENTRIES, RING_IDLE};
use hcall_lab_guests::stream::stream;

entry!(main);

const BYTES: usize = match RingLayout::new(RING_ENTRIES) {
    Some(layout) => layout.bytes() as usize,
    None => panic!("a power of two"),
};

static SPACE: RingSpace<BYTES> = RingSpace::new();

fn main() {
    let mut words = command_line().split(' ').map(str::parse::<u64>);
    let mut number = || words.next().and_then(Result::ok).expect("two numbers");
    let (calls, single_calls) = (number(), number());
    let offered = hcall_guest::host().expect("an hcall host").advertisement;
    assert!(offered.features.contains(Features::RING));
    assert!(offered.limits.ring_entries >= RING_ENTRIES);

    measure_single_calls(single_calls);
    measure_ring(calls);
    idle_ring();
    interrupting_ring();
    restricted_ring();
    broken_ring();
    refused_setups();
    // What was torn down can be set up again.
    let mut ring = UnikernelRing::set_up(&SPACE, 8).expect("a ring");
    assert_eq!(call(&mut ring, PROBE, [0; 4]), Ok(PROBE_RESULT));
}

fn nanoseconds() -> u64 {
    let now = time(Clock::Monotonic).expect("the monotonic clock");
    now.seconds * 1_000_000_000 + u64::from(now.nanoseconds)
}

fn measure_single_calls(calls: u64) {
    let start = nanoseconds();
    for index in 0..calls {
        let answer = hcall2(MIX[2], index, !index);
        assert_eq!(answer, Ok(mix(2, [index, !index, 0, 0])), "call {index}");
    }
    println!("single {} {calls}", nanoseconds() - start);
}

/// Rounds of the measurement: the quickest is the one that nothing else has disturbed.
const ROUNDS: u64 = 20;

fn measure_ring(calls: u64) {
    let mut ring = UnikernelRing::set_up(&SPACE, RING_ENTRIES).expect("a ring");
    assert_eq!(
        UnikernelRing::set_up(&SPACE, RING_ENTRIES).err(),
        Some(RingError::InUse)
    );
    let exits_before = exits();
    let (mut doorbells, mut quickest) = (0, u64::MAX);
    let calls_of_round = calls / ROUNDS;
    for _ in 0..ROUNDS {
        let start = nanoseconds();
        doorbells += stream(
            &mut ring,
            RING_ENTRIES,
            calls_of_round,
            MIX[2],
            |index| [index, !index, 0, 0],
            |index| mix(2, [index, !index, 0, 0]),
        );
        quickest = quickest.min(nanoseconds() - start);
    }
    // Not the two calls of TIME in each round, nor the second of STATS.
    let exits = exits() - exits_before - 2 * ROUNDS - 1 + doorbells;
    let calls = calls_of_round * ROUNDS;
    println!("ring {quickest} {calls_of_round} {calls} {doorbells} {exits}");
}

/// Calls that came by an exit; each call of STATS is one.
fn exits() -> u64 {
    let stats = stats().expect("STATS");
    stats.instruction + stats.carrier + stats.port
}

/// One call through `ring`.
fn call(
    ring: &mut UnikernelRing,
    number: hcall_guest::HypercallNumber,
    arguments: [u64; 4],
) -> Result<u64, Errno> {
    ring.submit(number, arguments, 9).expect("room");
    let _ = ring.flush();
    let answer = ring.wait().expect("the ring is served");
    assert_eq!(answer.user_data, 9);
    answer
        .result
        .map_err(|error| error.errno().expect("an errno"))
}

fn idle_ring() {
    let mut ring = UnikernelRing::set_up(&SPACE, 8).expect("a ring");
    assert_eq!(call(&mut ring, ECHO, [1, 0, 0, 0]), Ok(1));
    println!("idle {}", hcall0(RING_IDLE).expect("the host looks"));
    ring.submit(ECHO, [2, 0, 0, 0], 2).expect("room");
    assert!(ring.flush().is_some(), "an idle host wants the doorbell");
    assert_eq!(ring.wait().map(|answer| answer.result), Ok(Ok(2)));
}

/// An input of the interrupt controllers that no device drives.
const INTERRUPT: u32 = 5;

/// The interrupt for a completion reaches the interrupt controller; only when it was asked
/// for. Nothing is delivered: the first controller of the PC is asked what is pending.
fn interrupting_ring() {
    let wanted = RingSetup {
        interrupt: INTERRUPT,
        ..RingSetup::default()
    };
    let mut ring = UnikernelRing::set_up_as(&SPACE, 8, wanted).expect("a ring");
    assert_eq!(call(&mut ring, ECHO, [4, 0, 0, 0]), Ok(4));
    assert!(!is_pending(INTERRUPT), "nobody asked for it");
    assert_eq!(ring.listen(), Rest::Sleep);
    assert_eq!(call(&mut ring, ECHO, [5, 0, 0, 0]), Ok(5));
    let start = nanoseconds();
    while !is_pending(INTERRUPT) {
        assert!(nanoseconds() - start < 5_000_000_000, "no interrupt");
    }
}

/// Whether an input of the first 8259A is pending: its request register, selected by OCW3.
fn is_pending(input: u32) -> bool {
    const COMMAND: u16 = 0x20;
    const READ_REQUESTS: u8 = 0x0a;
    let requests: u8;
    // SAFETY: at CPL 0; the controller is only asked.
    unsafe {
        core::arch::asm!(
            "out dx, al",
            "in al, dx",
            in("dx") COMMAND,
            inlateout("al") READ_REQUESTS => requests,
            options(nostack, preserves_flags),
        );
    }
    requests & (1 << input) != 0
}

fn restricted_ring() {
    let mut wanted = RingSetup {
        flags: FLAG_PROCESS,
        range_count: 1,
        ..RingSetup::default()
    };
    wanted.ranges[0].first = ECHO.get();
    wanted.ranges[0].last = EXIT.get();
    let mut ring = UnikernelRing::set_up_as(&SPACE, 8, wanted).expect("a ring");
    assert_eq!(call(&mut ring, ECHO, [3, 0, 0, 0]), Ok(3));
    assert_eq!(call(&mut ring, PROBE, [0; 4]), Err(Errno::EPERM));
    assert_eq!(call(&mut ring, EXIT, [0; 4]), Err(Errno::EINVAL));
    // Within the ranges, but it takes an address.
    let console_write = hcall_guest::abi::number::CONSOLE_WRITE;
    assert_eq!(
        call(&mut ring, console_write, [0x10_0000, 1, 0, 0]),
        Err(Errno::EPERM)
    );
}

/// Memory for a ring that is written by hand.
#[repr(C, align(4096))]
struct Page(core::cell::UnsafeCell<[u8; 4096]>);

// SAFETY: one CPU runs.
unsafe impl Sync for Page {}

static PAGE: Page = Page(core::cell::UnsafeCell::new([0; 4096]));

fn setup() -> RingSetup {
    RingSetup {
        gpa: PAGE.0.get().expose_provenance() as u64,
        bytes: 4096,
        entries: 32,
        ..RingSetup::default()
    }
}

fn set_up(setup: &mut RingSetup) -> Result<u64, Errno> {
    let gpa = Gpa::new((setup as *mut RingSetup).expose_provenance() as u64);
    // SAFETY: the structure is borrowed mutably; the page is used by nothing else.
    unsafe { core_calls::ring_setup(gpa, size_of::<RingSetup>() as u64) }
        .map_err(|error| error.errno().expect("an errno"))
}

fn broken_ring() {
    let mut setup = setup();
    let id = set_up(&mut setup).expect("a ring");
    let layout = RingLayout::new(setup.entries).expect("a power of two");
    let base = NonNull::new(PAGE.0.get().cast::<u8>()).expect("a static");
    // SAFETY: the page is a static, as large as the ring.
    let region = unsafe { RingRegion::new(base, layout) };
    // SAFETY: the host has filled the structure in.
    let doorbell = unsafe { PortDoorbell::of(&setup) }.expect("a port");
    assert_eq!(region.load_acquire(RingWord::Status), STATUS_RUNNING);
    region.store_release(RingWord::SubmissionTail, 0x8000_0000);
    doorbell.ring();
    let status = || {
        RingStatus::from_words(
            region.load_acquire(RingWord::Status),
            region.load_relaxed(RingWord::Reason),
        )
    };
    while status() == RingStatus::Running {
        core::hint::spin_loop();
    }
    assert_eq!(status(), RingStatus::Broken(REASON_SUBMISSION));
    assert_eq!(core_calls::ring_teardown(id), Ok(()));
    let gone = core_calls::ring_teardown(id).expect_err("it is gone");
    assert_eq!(gone.errno(), Some(Errno::ENOENT));
}

fn refused_setups() {
    let good = setup();
    for (mut bad, errno) in [
        (
            RingSetup {
                entries: 31,
                ..good
            },
            Errno::EINVAL,
        ),
        (
            RingSetup {
                bytes: 4095,
                ..good
            },
            Errno::EINVAL,
        ),
        (
            RingSetup {
                gpa: good.gpa + 8,
                ..good
            },
            Errno::EINVAL,
        ),
        (
            RingSetup {
                gpa: 256 << 20,
                ..good
            },
            Errno::EFAULT,
        ),
        (
            RingSetup {
                gpa: u64::MAX - 4095,
                ..good
            },
            Errno::EFAULT,
        ),
        // The serial port's.
        (
            RingSetup {
                interrupt: 4,
                ..good
            },
            Errno::EBUSY,
        ),
    ] {
        assert_eq!(set_up(&mut bad), Err(errno));
    }
}
