// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rings come and go: what set-up refuses, tear-down, the end of the VM, idleness.

use crate::machine::{errno, eventually, lock, run_time, setup, this_thread};
use crate::machine::{InterruptWait, Machine};
use crate::machine::{DESCRIPTOR, GSI, MEMORY, REGION};
use hcall_abi::cpuid::Features;
use hcall_abi::ioctl::NumberRange;
use hcall_abi::number::RING_SETUP;
use hcall_abi::ring::{RingSetup, RingStatus};
use hcall_abi::{Errno, HypercallNumber};
use hcall_guest::ring::Rest;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

const USER: HypercallNumber = HypercallNumber::user(0x400);

#[test]
fn rings_are_advertised() {
    let machine = Machine::new();
    let advertisement = machine.host.advertisement();
    assert!(advertisement.features.contains(Features::RING));
    assert_eq!(advertisement.limits.ring_entries, 1024);
}

#[test]
fn setup_refuses_what_is_not_allowed() {
    let machine = Machine::new();
    let good = setup(8);
    let backwards = NumberRange { first: 2, last: 1 };
    let bad = [
        RingSetup { entries: 0, ..good },
        RingSetup { entries: 9, ..good },
        RingSetup {
            entries: 2048,
            bytes: 1 << 20,
            ..good
        },
        RingSetup {
            bytes: good.bytes - 1,
            ..good
        },
        RingSetup {
            gpa: REGION + 64,
            ..good
        },
        RingSetup { flags: 2, ..good },
        RingSetup {
            range_count: 17,
            ..good
        },
        RingSetup {
            range_count: 1,
            ranges: [backwards; 16],
            ..good
        },
        RingSetup {
            reserved: [0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            ..good
        },
    ];
    for wanted in bad {
        assert_eq!(
            machine.try_set_up(&wanted),
            errno(Errno::EINVAL),
            "{wanted:?}"
        );
    }
    for gpa in [
        MEMORY as u64,
        MEMORY as u64 - 4096,
        1 << 40,
        u64::MAX - 4095,
    ] {
        let wanted = RingSetup {
            gpa,
            entries: 64,
            bytes: 8192,
            ..good
        };
        assert_eq!(
            machine.try_set_up(&wanted),
            errno(Errno::EFAULT),
            "{gpa:#x}"
        );
    }
    let length = size_of::<RingSetup>() as u64;
    for (gpa, length, expected) in [
        (DESCRIPTOR, length - 1, Errno::EINVAL),
        (MEMORY as u64 - 8, length, Errno::EFAULT),
    ] {
        let answer = machine.call(RING_SETUP.get(), [gpa, length, 0, 0]);
        assert_eq!(answer, errno(expected));
    }
    assert_eq!(machine.wiring.connected(), (0, 0), "nothing is left behind");
}

#[test]
fn rings_can_share_an_interrupt() {
    let machine = Machine::new();
    let with_interrupt = |index: u64, interrupt| RingSetup {
        gpa: REGION + index * 0x1000,
        interrupt,
        ..setup(8)
    };
    let other = machine.try_set_up(&with_interrupt(0, GSI + 1));
    assert_eq!(other, errno(Errno::EBUSY));
    for round in 0..2 {
        assert_eq!(machine.try_set_up(&with_interrupt(0, GSI)), 0);
        assert_eq!(machine.try_set_up(&with_interrupt(1, GSI)), 1);
        // One eventfd for both, or the wiring's assertions fail.
        assert_eq!(machine.wiring.connected(), (2, 1), "round {round}");
        assert_eq!(machine.tear_down(0), 0);
        assert_eq!(machine.wiring.connected(), (1, 1), "the other has it");
        assert_eq!(machine.tear_down(1), 0);
        assert_eq!(machine.wiring.connected(), (0, 0));
    }
}

#[test]
fn there_are_so_many_rings_and_their_places_are_used_again() {
    let machine = Machine::with(|config| config.rings = 3);
    let at = |index: u64| RingSetup {
        gpa: REGION + index * 0x1000,
        ..setup(8)
    };
    for index in 0..3 {
        assert_eq!(machine.try_set_up(&at(index)), index as i64);
    }
    assert_eq!(machine.try_set_up(&at(3)), errno(Errno::ENOSPC));
    assert_eq!(machine.tear_down(1), 0);
    assert_eq!(machine.tear_down(1), errno(Errno::ENOENT));
    assert_eq!(machine.tear_down(3), errno(Errno::ENOENT));
    assert_eq!(machine.tear_down(u32::MAX), errno(Errno::ENOENT));
    assert_eq!(machine.try_set_up(&at(3)), 1);
}

/// Tear-down waits for the call being executed, and executes none after it.
#[test]
fn teardown_finishes_one_call_and_drops_the_rest() {
    let machine = Machine::new();
    let (entered, enters) = channel();
    let (leave, leaves) = channel::<()>();
    let (entered, leaves) = (Mutex::new(entered), Mutex::new(leaves));
    machine
        .host
        .hypercalls()
        .register(USER, move |_| {
            lock(&entered).send(()).expect("the test listens");
            lock(&leaves).recv().map_err(|_| Errno::EIO)?;
            Ok(1)
        })
        .expect("the number is free");
    let (id, mut ring) = machine.set_up(&setup(64));
    // More than the host answers before it looks whether it is to end.
    for index in 0..64 {
        ring.submit(USER, [0; 4], index).expect("room");
    }
    let _ = ring.flush();
    enters.recv().expect("the first call begins");
    std::thread::scope(|scope| {
        let teardown = scope.spawn(|| machine.tear_down(id));
        for _ in 0..64 {
            let _ = leave.send(());
        }
        assert_eq!(teardown.join().expect("it ends"), 0);
    });
    assert_eq!(ring.status(), RingStatus::Closed);
    let mut answered = 0;
    while let Some(answer) = ring.complete() {
        assert_eq!((answer.user_data, answer.result), (answered, Ok(1)));
        answered += 1;
    }
    let executed = machine.host.counters().ring_calls();
    assert_eq!(
        answered, executed,
        "what was executed is answered, and nothing else"
    );
    assert!(answered >= 1);
}

#[test]
fn the_end_of_the_vm_closes_rings_and_wakes_whoever_waits() {
    let machine = Machine::new();
    let wanted = RingSetup {
        interrupt: GSI,
        ..setup(8)
    };
    let (_, mut ring) = machine.set_up(&wanted);
    let interrupt = InterruptWait::new(machine.wiring.interrupt());
    assert_eq!(ring.listen(), Rest::Sleep);
    machine.host.close_rings();
    interrupt.wait();
    assert_eq!(ring.status(), RingStatus::Closed);
    assert_eq!(machine.wiring.connected(), (0, 0));
}

#[test]
fn a_dropped_host_leaves_no_thread() {
    let machine = Machine::new();
    let (_, ring) = machine.set_up(&setup(8));
    let Machine {
        host,
        memory,
        wiring,
    } = machine;
    drop(host);
    assert_eq!(ring.status(), RingStatus::Closed);
    assert_eq!(wiring.connected(), (0, 0));
    drop(memory);
}

/// A handler's panic is the handler's: the call fails and the ring goes on.
#[test]
fn a_panicking_handler_does_not_end_the_ring() {
    let machine = Machine::new();
    machine
        .host
        .hypercalls()
        .register(USER, |call| {
            assert_ne!(call.arg::<0>(), 1, "as the test wants");
            Ok(call.arg::<0>())
        })
        .expect("the number is free");
    let (_, mut ring) = machine.set_up(&setup(8));
    for value in 0..3 {
        ring.submit(USER, [value, 0, 0, 0], value).expect("room");
    }
    let _ = ring.flush();
    let mut results = Vec::new();
    eventually("three answers", || {
        results.extend(ring.complete().map(|answer| answer.result));
        results.len() == 3
    });
    assert_eq!(results[0], Ok(0));
    assert_eq!(
        results[1].map_err(|error| error.errno()),
        Err(Some(Errno::EIO))
    );
    assert_eq!(results[2], Ok(2));
}

/// Ten milliseconds after the last call the ring's thread does not run at all.
#[test]
fn an_idle_ring_uses_no_processor() {
    let machine = Machine::with(|config| config.poll = Duration::from_micros(100));
    let thread = Arc::new(OnceLock::new());
    let seen = Arc::clone(&thread);
    machine
        .host
        .hypercalls()
        .register(USER, move |_| {
            seen.get_or_init(this_thread);
            Ok(1)
        })
        .expect("the number is free");
    let (_, mut ring) = machine.set_up(&setup(8));
    for _ in 0..100 {
        ring.submit(USER, [0; 4], 0).expect("room");
        let _ = ring.flush();
        eventually("an answer", || ring.complete().is_some());
    }
    let thread = thread.get().expect("the handler ran");
    std::thread::sleep(Duration::from_millis(10));
    let before = run_time(thread);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(
        run_time(thread),
        before,
        "nanoseconds on a processor while idle"
    );
    // It is asleep, not dead.
    ring.submit(USER, [0; 4], 0).expect("room");
    assert!(ring.flush().is_some(), "an idle host wants the doorbell");
    eventually("an answer", || ring.complete().is_some());
}
