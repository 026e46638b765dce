// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rings whose entries a process answers: it dies, is late, or says nothing, while calls are
//! outstanding.

use crate::entries::through;
use crate::machine::{eventually, lock, setup, Machine, TestDoorbell};
use crate::peer::{connect, Peer, LONG, NUMBER, SHORT};
use hcall_abi::ring::RingStatus;
use hcall_abi::{CallError, Errno, HypercallNumber};
use hcall_guest::ring::Ring;
use hcall_vmm::extend::external::ExternalHandler;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::Instant;

type Outcome = Result<u64, CallError>;

/// Answered by the test itself.
const GATE: HypercallNumber = HypercallNumber::user(0x43);
const EIO: Outcome = Err(CallError::Errno(Errno::EIO));
const ETIMEDOUT: Outcome = Err(CallError::Errno(Errno::ETIMEDOUT));
/// More than the host answers by one state of the table.
const MANY: u64 = 60;

/// A handler at whose other end `play` is, once it has greeted.
fn process(
    limit: std::time::Duration,
    play: impl FnOnce(Peer) + Send + 'static,
) -> (ExternalHandler, JoinHandle<()>) {
    let (handler, peer) = connect(&[], limit, |mut peer| {
        peer.greet();
        play(peer);
    });
    (handler.expect("the greeting"), peer)
}

/// A machine whose `NUMBER` is answered so.
fn machine(
    limit: std::time::Duration,
    play: impl FnOnce(Peer) + Send + 'static,
) -> (Machine, JoinHandle<()>) {
    let machine = Machine::new();
    let (handler, peer) = process(limit, play);
    let table = machine.host.hypercalls();
    table
        .register(NUMBER, handler.into_handler())
        .expect("the number is free");
    (machine, peer)
}

/// Replaces the handler of `NUMBER` by one that adds its first two arguments.
fn replace_by_adding(machine: &Machine) -> JoinHandle<()> {
    let (handler, peer) = process(LONG, |mut peer| peer.add());
    let table = machine.host.hypercalls();
    table
        .replace(NUMBER, handler.into_handler())
        .expect("it is there");
    peer
}

/// Makes a call of `number` with its index and 1000 for each of `indices`, all at once.
fn submit(
    ring: &mut Ring<TestDoorbell>,
    indices: impl Iterator<Item = u64>,
    number: impl Fn(u64) -> HypercallNumber,
) {
    for index in indices {
        let arguments = [index, 1000, 0, 0];
        ring.submit(number(index), arguments, index).expect("room");
    }
    let _ = ring.flush();
}

/// Waits for the answers to the calls 0 … `count` − 1: each comes once, and in order.
fn collect(ring: &mut Ring<TestDoorbell>, count: u64) -> Vec<Outcome> {
    let mut results = Vec::new();
    eventually("every entry's answer", || {
        while let Some(answer) = ring.complete() {
            assert_eq!(answer.user_data, results.len() as u64);
            results.push(answer.result);
        }
        results.len() as u64 == count
    });
    assert!(ring.complete().is_none(), "one answer for each");
    results
}

/// Ends the machine, and with it the connection of its handler.
fn end(machine: Machine, peer: JoinHandle<()>) {
    drop(machine);
    peer.join().expect("the peer met what it expected");
}

#[test]
fn every_entry_is_answered_in_order() {
    let (machine, peer) = machine(LONG, |mut peer| {
        while let Some(asked) = peer.next() {
            let request = asked.request();
            assert_eq!((request.vcpu, request.number), (None, NUMBER.get()));
            let [a, b, ..] = request.arguments;
            peer.answer(asked.id, Ok(a + b));
        }
    });
    let (_, mut ring) = machine.set_up(&setup(64));
    for _ in 0..20 {
        submit(&mut ring, 0..MANY, |_| NUMBER);
        let due: Vec<Outcome> = (1000..1000 + MANY).map(Ok).collect();
        assert_eq!(collect(&mut ring, MANY), due);
    }
    end(machine, peer);
}

/// What a gate is opened with, once it has been reached.
fn register_gate(machine: &Machine) -> (Receiver<()>, Sender<()>) {
    let (reached, reaches) = channel();
    let (open, opened) = channel();
    let (reached, opened) = (Mutex::new(reached), Mutex::new(opened));
    machine
        .host
        .hypercalls()
        .register(GATE, move |_| {
            lock(&reached).send(()).map_err(|_| Errno::EINVAL)?;
            lock(&opened).recv().map_err(|_| Errno::EINVAL)?;
            Ok(0)
        })
        .expect("the number is free");
    (reaches, open)
}

#[test]
fn the_handler_dies_amid_outstanding_calls_and_the_ring_goes_on_with_the_next() {
    let (machine, dying) = machine(LONG, |mut peer| {
        for _ in 0..3 {
            let asked = peer.next().expect("the first three");
            peer.answer(asked.id, Ok(asked.request().arguments[0]));
        }
        // Asked a fourth time, and gone without an answer.
        peer.next().expect("the fourth");
    });
    let (reached, open) = register_gate(&machine);
    let (_, mut ring) = machine.set_up(&setup(64));
    let start = Instant::now();
    // The handler is replaced while the sixth is answered.
    submit(&mut ring, 0..MANY, |index| match index {
        5 => GATE,
        _ => NUMBER,
    });
    reached.recv().expect("the sixth begins");
    dying.join().expect("it met what it expected");
    let adding = replace_by_adding(&machine);
    open.send(()).expect("the gate waits");
    let results = collect(&mut ring, MANY);
    assert!(start.elapsed() < LONG / 4, "nobody waits for who is gone");

    assert_eq!(results[..6], [Ok(0), Ok(1), Ok(2), EIO, EIO, Ok(0)]);
    // What was begun by the old state of the table ends by it.
    let failed = results[6..].iter().take_while(|result| **result == EIO);
    let next = 6 + failed.count();
    assert!(next < results.len(), "the next handler answered none");
    for (index, result) in results.iter().enumerate().skip(next) {
        assert_eq!(*result, Ok(1000 + index as u64), "entry {index}");
    }
    let counters = machine.host.counters().read();
    assert_eq!(counters.failed, 2 + (next - 6) as u64);
    assert_eq!(ring.status(), RingStatus::Running);
    end(machine, adding);
}

#[test]
fn a_handler_that_is_gone_fails_each_call_at_once_until_it_is_replaced() {
    let (machine, gone) = machine(LONG, drop);
    gone.join().expect("it has greeted");
    let (_, mut ring) = machine.set_up(&setup(64));
    let start = Instant::now();
    submit(&mut ring, 0..MANY, |_| NUMBER);
    assert_eq!(collect(&mut ring, MANY), vec![EIO; MANY as usize]);
    assert!(start.elapsed() < LONG / 4);
    let adding = replace_by_adding(&machine);
    assert_eq!(through(&mut ring, NUMBER, [1, 2, 0, 0]), Ok(3));
    end(machine, adding);
}

#[test]
fn an_entry_that_is_not_answered_in_time_is_given_up_and_the_next_is_answered() {
    let (machine, peer) = machine(SHORT, |mut peer| {
        while let Some(asked) = peer.next() {
            let index = asked.request().arguments[0];
            if index != 1 {
                peer.answer(asked.id, Ok(index));
            }
        }
    });
    let (_, mut ring) = machine.set_up(&setup(8));
    let start = Instant::now();
    submit(&mut ring, 0..4, |_| NUMBER);
    let results = collect(&mut ring, 4);
    assert_eq!(results, [Ok(0), ETIMEDOUT, Ok(2), Ok(3)]);
    assert!(start.elapsed() >= SHORT);
    end(machine, peer);
}

/// A ring that ends waits for the one call that is under way, and no longer than its limit.
#[test]
fn a_ring_is_torn_down_while_the_handler_says_nothing() {
    let (asked, asks) = channel();
    let (machine, peer) = machine(SHORT, move |mut peer| {
        while peer.next().is_some() {
            let _ = asked.send(());
        }
    });
    let (id, mut ring) = machine.set_up(&setup(64));
    submit(&mut ring, 0..MANY, |_| NUMBER);
    asks.recv().expect("the first call");
    let start = Instant::now();
    assert_eq!(machine.tear_down(id), 0);
    let took = start.elapsed();
    assert!(took < SHORT * 8, "{took:?}: it waited for call after call");
    assert_eq!(ring.status(), RingStatus::Closed);
    let mut answered = 0;
    while let Some(answer) = ring.complete() {
        assert_eq!(
            (answer.user_data, answer.result),
            (answered, ETIMEDOUT),
            "what was begun has its error"
        );
        answered += 1;
    }
    assert_eq!(answered, machine.host.counters().ring_calls());
    assert!((1..MANY).contains(&answered), "{answered}");
    // The next ring is answered by the same rules.
    let (_, mut ring) = machine.set_up(&setup(8));
    assert_eq!(through(&mut ring, NUMBER, [0; 4]), ETIMEDOUT);
    end(machine, peer);
}

#[test]
fn a_pause_waits_for_the_call_that_is_under_way() {
    let (asked, asks) = channel();
    let (go_on, waits) = channel::<()>();
    let (machine, peer) = machine(LONG, move |mut peer| {
        while let Some(call) = peer.next() {
            let _ = asked.send(());
            let _ = waits.recv();
            peer.answer(call.id, Ok(call.request().arguments[0]));
        }
    });
    let (_, mut ring) = machine.set_up(&setup(8));
    submit(&mut ring, 0..2, |_| NUMBER);
    asks.recv().expect("the first call");
    assert!(!machine.host.pause_rings(SHORT), "a call is under way");
    go_on.send(()).expect("the handler waits");
    assert!(machine.host.pause_rings(LONG));
    assert_eq!(collect(&mut ring, 1), [Ok(0)]);
    asks.recv_timeout(SHORT).expect_err("the second waits");
    machine.host.resume_rings();
    drop(go_on);
    let mut second = None;
    eventually("the second's answer", || {
        second = ring.complete();
        second.is_some()
    });
    assert_eq!(second.map(|answer| answer.result), Some(Ok(1)));
    end(machine, peer);
}

/// The thread of the ring and the one that receives have given up what they do not need; what
/// they do need is to ask, to wait, and to be told.
#[cfg(feature = "sandbox")]
#[test]
fn confined_threads_speak_with_the_handler() {
    use hcall_vmm::extend::{Installer, OpenedSource};
    use hcall_vmm::sandbox::Sandbox;
    use std::os::unix::net::UnixStream;

    let sandbox = Sandbox::new();
    let machine = Machine::of(|host| host.with_sandbox(sandbox.clone()));
    let table = machine.host.hypercalls();
    table
        .register(GATE, |_| match std::fs::File::open("/") {
            Ok(_) => Ok(0),
            Err(error) => Ok(error.raw_os_error().unwrap_or(0) as u64),
        })
        .expect("the number is free");
    let (ours, stream) = UnixStream::pair().expect("two sockets");
    let peer = std::thread::spawn(move || {
        let ranges = Default::default();
        let mut peer = Peer { stream, ranges };
        peer.greet();
        for _ in 0..MANY {
            let asked = peer.next().expect("a call");
            let [a, b, ..] = asked.request().arguments;
            peer.answer(asked.id, Ok(a + b));
        }
        // One that is given up, and one that finds the handler gone.
        peer.next().expect("a call more");
        peer.next().expect("and another");
    });
    let source = "unix:handler".parse().expect("a source");
    let opened = OpenedSource::Socket(ours);
    let installer = Installer::default().with_sandbox(sandbox);
    let installed = installer
        .with_time_limit(SHORT)
        .add(table, Some(NUMBER), &source, opened);
    installed.expect("it has greeted");
    let (_, mut ring) = machine.set_up(&setup(64));
    assert_eq!(
        through(&mut ring, GATE, [0; 4]),
        Ok(Errno::EPERM.get().into()),
        "the thread of the ring is confined"
    );
    submit(&mut ring, 0..MANY, |_| NUMBER);
    let due: Vec<Outcome> = (1000..1000 + MANY).map(Ok).collect();
    assert_eq!(collect(&mut ring, MANY), due);
    assert_eq!(through(&mut ring, NUMBER, [0; 4]), ETIMEDOUT);
    assert_eq!(through(&mut ring, NUMBER, [0; 4]), EIO);
    end(machine, peer);
}
