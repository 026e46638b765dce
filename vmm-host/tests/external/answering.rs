// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls that are answered: what the handler sees, and what it writes.

use crate::fake_vcpu::{call, finish, FakeVcpu, MEMORY_SIZE};
use crate::peer::{fixture, range, LONG, NUMBER};
use hcall_abi::{Errno, Transport};
use hcall_vmm::extend::external::protocol::{Answer, Direction, Length, Range};
use hcall_vmm::{Cpl, Disposition};
use std::thread;
use vm_memory::{Bytes, GuestAddress};

const EFAULT: i64 = -14;
const EMSGSIZE: i64 = -90;

#[test]
fn the_handler_sees_the_call_and_its_answer_arrives() {
    let fixture = fixture(&[], LONG, |mut peer| {
        let asked = peer.next().unwrap();
        let request = asked.request();
        assert_eq!(request.number, NUMBER.get());
        assert_eq!(request.arguments, [1, u64::MAX, 3, 4]);
        assert_eq!(request.vcpu, Some(0));
        assert_eq!(request.cpl, Some(Cpl::KERNEL));
        assert_eq!(request.lengths, [0; 4]);
        peer.answer(asked.id, Ok(i64::MAX as u64));
        let asked = peer.next().unwrap();
        peer.answer(asked.id, Err(Errno::EBUSY));
        assert!(peer.next().is_none());
    });
    assert_eq!(fixture.call([1, u64::MAX, 3, 4]), i64::MAX);
    assert_eq!(fixture.call([0; 4]), -16);
    fixture.end();
}

#[test]
fn the_level_is_asked_of_nobody_where_the_exit_does_not_tell_it() {
    let fixture = fixture(&[], LONG, |mut peer| {
        let asked = peer.next().unwrap();
        assert_eq!(asked.request().cpl, None);
        peer.answer(asked.id, Ok(5));
    });
    let mut vcpu = FakeVcpu::new();
    vcpu.out(NUMBER.get().into(), [0; 4]);
    finish(&fixture.host, &mut vcpu, Transport::Port);
    assert_eq!(vcpu.answer(), 5);
    fixture.end();
}

#[test]
fn memory_goes_in_and_out_by_the_ranges_and_nowhere_else() {
    let fixed = Range {
        address: 2,
        length: Length::Fixed(4),
        direction: Direction::In,
    };
    let ranges = [range(Direction::InOut, 16), fixed];
    let fixture = fixture(&ranges, LONG, |mut peer| {
        let asked = peer.next().unwrap();
        let request = asked.request();
        assert_eq!(request.lengths, [6, 4, 0, 0]);
        assert_eq!(request.inputs[0], b"abcdef");
        assert_eq!(request.inputs[1], b"wxyz");
        // Fewer bytes than there are: the rest stays.
        let outputs = [&b"ABC"[..], b"", b"", b""];
        let answer = Answer {
            result: Ok(3),
            outputs,
        };
        peer.send(&answer.encode(asked.id));
        // And with an error as well.
        let asked = peer.next().unwrap();
        let answer = Answer {
            result: Err(Errno::EIO),
            outputs: [&b"!"[..], b"", b"", b""],
        };
        peer.send(&answer.encode(asked.id));
    });
    fixture
        .memory
        .write_slice(b"-abcdef-wxyz-", GuestAddress(0x100))
        .unwrap();
    assert_eq!(fixture.call([0x101, 6, 0x108, 0]), 3);
    let mut seen = [0; 13];
    fixture
        .memory
        .read_slice(&mut seen, GuestAddress(0x100))
        .unwrap();
    assert_eq!(&seen, b"-ABCdef-wxyz-");
    assert_eq!(fixture.call([0x101, 1, 0x108, 0]), -5);
    fixture
        .memory
        .read_slice(&mut seen, GuestAddress(0x100))
        .unwrap();
    assert_eq!(&seen, b"-!BCdef-wxyz-");
    fixture.end();
}

#[test]
fn a_range_that_cannot_be_had_is_refused_before_the_handler_is_asked() {
    for direction in [Direction::In, Direction::Out, Direction::InOut] {
        let fixture = fixture(&[range(direction, 0x1000)], LONG, |mut peer| {
            // Of all the calls below this one alone comes here.
            let asked = peer.next().unwrap();
            assert_eq!(asked.request().lengths, [0x1000, 0, 0, 0]);
            peer.answer(asked.id, Ok(0));
            assert!(peer.next().is_none());
        });
        let end = MEMORY_SIZE as u64;
        for (gpa, length, errno) in [
            (0, 0x1001, EMSGSIZE),
            (0, 1 << 32, EMSGSIZE),
            (0, u64::MAX, EMSGSIZE),
            (end, 1, EFAULT),
            (end - 0xfff, 0x1000, EFAULT),
            (u64::MAX, 1, EFAULT),
            (u64::MAX, 2, EFAULT),
            (u64::MAX - 0xffe, 0x1000, EFAULT),
        ] {
            assert_eq!(
                fixture.call([gpa, length, 0, 0]),
                errno,
                "{direction:?} {gpa:#x} {length:#x}"
            );
        }
        assert_eq!(fixture.call([end - 0x1000, 0x1000, 0, 0]), 0);
        fixture.end();
    }
}

#[test]
fn an_empty_range_is_anywhere() {
    let fixture = fixture(&[range(Direction::InOut, 1)], LONG, |mut peer| {
        let asked = peer.next().unwrap();
        assert_eq!(asked.request().lengths, [0; 4]);
        peer.answer(asked.id, Ok(7));
    });
    assert_eq!(fixture.call([u64::MAX, 0, 0, 0]), 7);
    fixture.end();
}

#[test]
fn the_longest_request_and_answer_arrive() {
    // 256 KiB, more than a socket takes at once: the rest is sent as room comes.
    let ranges = [0, 1, 2, 3].map(|address| Range {
        address,
        length: Length::Fixed(0x1_0000),
        direction: Direction::InOut,
    });
    let fixture = fixture(&ranges, LONG, |mut peer| {
        for _ in 0..3 {
            let asked = peer.next().unwrap();
            let inverted = asked
                .request()
                .inputs
                .map(|input| -> Vec<u8> { input.iter().map(|byte| !byte).collect() });
            let answer = Answer {
                result: Ok(0),
                outputs: inverted.each_ref().map(Vec::as_slice),
            };
            peer.send(&answer.encode(asked.id));
        }
    });
    let bytes: Vec<u8> = (0..MEMORY_SIZE).map(|index| (index % 251) as u8).collect();
    fixture.memory.write_slice(&bytes, GuestAddress(0)).unwrap();
    for _ in 0..3 {
        assert_eq!(fixture.call([0; 4]), 0);
    }
    let mut seen = vec![0; MEMORY_SIZE];
    fixture
        .memory
        .read_slice(&mut seen, GuestAddress(0))
        .unwrap();
    assert!(seen.iter().zip(&bytes).all(|(seen, byte)| *seen == !byte));
    fixture.end();
}

#[test]
fn calls_of_several_vcpus_are_in_flight_at_once_and_answered_in_any_order() {
    const VCPUS: usize = 8;
    let fixture = fixture(&[], LONG, |mut peer| {
        for _ in 0..50 {
            // All of them are there before any is answered, and the last is answered first.
            let mut asked: Vec<_> = (0..VCPUS).map(|_| peer.next().unwrap()).collect();
            asked.reverse();
            for asked in asked {
                let [a, b, ..] = asked.request().arguments;
                peer.answer(asked.id, Ok(a * 1000 + b));
            }
        }
    });
    thread::scope(|scope| {
        for vcpu in 0..VCPUS as u64 {
            let host = &fixture.host;
            scope.spawn(move || {
                for counter in 0..50 {
                    let answer = call(host, NUMBER.get(), [vcpu, counter, 0, 0]);
                    assert_eq!(answer, (vcpu * 1000 + counter) as i64);
                }
            });
        }
    });
    fixture.end();
}

#[test]
fn a_hundred_thousand_calls_by_four_vcpus_are_all_answered() {
    const CALLS: u64 = 25_000;
    let fixture = fixture(&[], LONG, |mut peer| peer.add());
    thread::scope(|scope| {
        for vcpu in 0..4 {
            let host = &fixture.host;
            scope.spawn(move || {
                for counter in 0..CALLS {
                    let answer = call(host, NUMBER.get(), [vcpu << 32, counter, 0, 0]);
                    assert_eq!(answer as u64, (vcpu << 32) + counter);
                }
            });
        }
    });
    fixture.end();
}

#[test]
fn a_vcpus_thread_does_not_wait() {
    let (go_on, waits) = std::sync::mpsc::channel::<()>();
    let fixture = fixture(&[], LONG, move |mut peer| {
        let asked = peer.next().unwrap();
        waits.recv().unwrap();
        peer.answer(asked.id, Ok(1));
        peer.add();
    });
    let mut vcpu = FakeVcpu::new();
    vcpu.trap(NUMBER.get().into(), [0; 4]);
    let mut calls = fixture.host.vcpu_calls(0);
    // The handler does not answer before this has returned.
    let Disposition::Wait(pending) = calls.dispatch(&mut vcpu, Transport::Instruction) else {
        panic!("it has been answered by nobody");
    };
    assert!(!pending.is_ready());
    go_on.send(()).unwrap();
    calls.complete(&mut vcpu, pending.wait());
    assert_eq!(vcpu.answer(), 1);
    drop(calls);
    fixture.end();
}
