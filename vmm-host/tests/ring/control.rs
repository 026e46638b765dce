// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rings that pause and go on, that are watched, and whose handlers panic.

use crate::entries::through;
use crate::machine::{eventually, lock, setup, Machine};
use hcall_abi::{CallError, Errno, HypercallNumber};
use hcall_vmm::{PanicPolicy, StopReason};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const USER: HypercallNumber = HypercallNumber::user(0x500);
const LIMIT: Duration = Duration::from_secs(20);
const EIO: Result<u64, CallError> = Err(CallError::Errno(Errno::EIO));

/// Registers a handler that counts its calls.
fn count_calls(machine: &Machine) -> Arc<AtomicU64> {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    machine
        .host
        .hypercalls()
        .register(USER, move |_| Ok(counted.fetch_add(1, Ordering::Relaxed)))
        .expect("the number is free");
    calls
}

#[test]
fn a_ring_that_pauses_answers_nothing_until_it_goes_on() {
    let machine = Machine::new();
    let calls = count_calls(&machine);
    let (_, mut ring) = machine.set_up(&setup(8));
    for round in 1..20 {
        // Idle as it is, or just awake.
        if round % 2 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(machine.host.pause_rings(LIMIT));
        ring.submit(USER, [0; 4], round).expect("room");
        let _ = ring.flush();
        thread::sleep(Duration::from_millis(2));
        assert_eq!(calls.load(Ordering::Relaxed), round - 1);
        assert!(ring.complete().is_none());
        assert!(machine.host.pause_rings(LIMIT), "it is paused already");
        machine.host.resume_rings();
        eventually("an answer", || ring.complete().is_some());
        assert_eq!(calls.load(Ordering::Relaxed), round);
    }
}

#[test]
fn a_ring_that_pauses_can_be_torn_down_and_closed() {
    let machine = Machine::new();
    let (id, ring) = machine.set_up(&setup(8));
    assert!(machine.host.pause_rings(LIMIT));
    assert_eq!(machine.tear_down(id), 0);
    drop(ring);
    machine.host.resume_rings();
    let (_, _ring) = machine.set_up(&setup(8));
    assert!(machine.host.pause_rings(LIMIT));
    machine.host.close_rings();
    assert_eq!(machine.wiring.connected(), (0, 0));
}

#[test]
fn a_handler_that_takes_long_is_not_waited_for_longer_than_was_said() {
    let machine = Machine::new();
    let (release, wait) = channel();
    let wait = Mutex::new(wait);
    machine
        .host
        .hypercalls()
        .register(USER, move |_| {
            lock(&wait).recv_timeout(LIMIT).map_err(|_| Errno::EIO)
        })
        .expect("the number is free");
    let (_, mut ring) = machine.set_up(&setup(8));
    ring.submit(USER, [0; 4], 1).expect("room");
    let _ = ring.flush();
    thread::sleep(Duration::from_millis(10));
    assert!(!machine.host.pause_rings(Duration::from_millis(20)));
    machine.host.resume_rings();
    release.send(7).expect("the handler waits");
    let mut answer = None;
    eventually("an answer", || {
        answer = ring.complete();
        answer.is_some()
    });
    assert_eq!(answer.expect("it came").result, Ok(7));
}

#[cfg(feature = "watch")]
#[test]
fn calls_through_a_ring_are_watched() {
    let machine = Machine::of(hcall_vmm::HypercallHost::with_watching);
    count_calls(&machine);
    let (_, mut ring) = machine.set_up(&setup(8));
    for _ in 0..5 {
        through(&mut ring, USER, [0; 4]).expect("an answer");
    }
    let report = machine.host.watch().expect("it watches").report();
    let of_user = report.iter().find(|stats| stats.number() == USER);
    assert_eq!(of_user.expect("it was called").calls(), 5);
}

/// What a ring's calls to a handler that panics are answered, and what was told of it.
fn panic_through_a_ring(policy: PanicPolicy) -> Vec<StopReason> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&told);
    let machine = Machine::of(|host| {
        host.with_panic_policy(policy)
            .with_stop_listener(move |reason| lock(&noted).push(reason))
    });
    machine
        .host
        .hypercalls()
        .register(USER, |call| match call.arg::<0>() {
            0 => panic!("on purpose"),
            argument => Ok(argument),
        })
        .expect("the number is free");
    let (_, mut ring) = machine.set_up(&setup(8));
    assert_eq!(through(&mut ring, USER, [0; 4]), EIO);
    // The thread of the ring lives, whatever becomes of the VM.
    assert_eq!(through(&mut ring, USER, [5, 0, 0, 0]), Ok(5));
    assert_eq!(machine.host.counters().read().panicked, 1);
    let told = lock(&told);
    told.clone()
}

#[test]
fn a_panic_fails_one_call_or_is_told_to_whoever_ends_the_vm() {
    assert_eq!(panic_through_a_ring(PanicPolicy::Answer), []);
    let reason = StopReason::HandlerPanicked {
        number: USER,
        message: "on purpose".into(),
    };
    assert_eq!(panic_through_a_ring(PanicPolicy::EndVm), [reason]);
}
