// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers that are late, or never answer.

use crate::fake_vcpu::call;
use crate::peer::{fixture, range, LONG, NUMBER, SHORT};
use hcall_vmm::extend::external::protocol::{Answer, Direction, Length, Range};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use vm_memory::{Bytes, GuestAddress};

const ETIMEDOUT: i64 = -110;
/// More than this beyond a limit is not explained by a busy machine.
const SLACK: Duration = Duration::from_secs(5);

/// The call is given up neither before the limit nor long after it.
#[track_caller]
fn expect_timeout(limit: Duration, make: impl FnOnce() -> i64) {
    let start = Instant::now();
    assert_eq!(make(), ETIMEDOUT);
    let took = start.elapsed();
    assert!(
        took >= limit && took < limit + SLACK,
        "{took:?} of {limit:?}"
    );
}

#[test]
fn a_call_that_is_not_answered_is_given_up_and_the_next_is_answered() {
    let fixture = fixture(&[], SHORT, |mut peer| {
        let never = peer.next().unwrap();
        let asked = peer.next().unwrap();
        assert!(asked.id > never.id);
        peer.answer(asked.id, Ok(1));
        assert!(peer.next().is_none());
    });
    expect_timeout(SHORT, || fixture.call([0; 4]));
    assert_eq!(fixture.call([0; 4]), 1);
    fixture.end();
}

#[test]
fn a_late_answer_is_ignored_and_writes_nothing() {
    let fixture = fixture(&[range(Direction::Out, 8)], SHORT, |mut peer| {
        let late = peer.next().unwrap();
        let asked = peer.next().unwrap();
        let answer = Answer {
            result: Ok(1),
            outputs: [&b"too late"[..], b"", b"", b""],
        };
        peer.send(&answer.encode(late.id));
        peer.answer(asked.id, Ok(2));
        let asked = peer.next().unwrap();
        peer.answer(asked.id, Ok(3));
    });
    expect_timeout(SHORT, || fixture.call([0x100, 8, 0, 0]));
    assert_eq!(fixture.call([0x200, 8, 0, 0]), 2);
    assert_eq!(fixture.call([0x200, 8, 0, 0]), 3);
    let mut seen = [0; 8];
    fixture
        .memory
        .read_slice(&mut seen, GuestAddress(0x100))
        .unwrap();
    assert_eq!(seen, [0; 8]);
    fixture.end();
}

#[test]
fn a_second_late_answer_to_the_same_call_is_a_breach() {
    let fixture = fixture(&[], SHORT, |mut peer| {
        let late = peer.next().unwrap();
        let asked = peer.next().unwrap();
        peer.answer(late.id, Ok(1));
        peer.answer(late.id, Ok(1));
        assert!(peer.next().is_none(), "the connection was closed");
        drop(asked);
    });
    expect_timeout(SHORT, || fixture.call([0; 4]));
    assert_eq!(fixture.call([0; 4]), -5);
    fixture.end();
}

#[test]
fn one_slow_call_does_not_hold_the_others_up() {
    let fixture = fixture(&[], SHORT, |mut peer| {
        while let Some(asked) = peer.next() {
            if asked.request().arguments[0] != 0 {
                peer.answer(asked.id, Ok(9));
            }
        }
    });
    thread::scope(|scope| {
        let host = &fixture.host;
        let slow = scope.spawn(move || {
            expect_timeout(SHORT, || call(host, NUMBER.get(), [0; 4]));
        });
        while !slow.is_finished() {
            assert_eq!(call(host, NUMBER.get(), [1, 0, 0, 0]), 9);
        }
        slow.join().unwrap();
    });
    fixture.end();
}

/// What a process looks like that was sent SIGSTOP: it reads nothing, and the socket fills.
#[test]
fn a_handler_that_does_not_read_holds_nobody_up_and_may_go_on_later() {
    let ranges = [Range {
        address: 0,
        length: Length::Fixed(0x1_0000),
        direction: Direction::In,
    }];
    let (go_on, stopped) = mpsc::channel::<()>();
    let fixture = fixture(&ranges, SHORT, move |mut peer| {
        stopped.recv().unwrap();
        let mut ids = Vec::new();
        // What comes out of the socket first are calls that were given up.
        while let Some(asked) = peer.next() {
            ids.push(asked.id);
            peer.answer(asked.id, Ok(asked.request().arguments[1]));
        }
        assert!(ids.is_sorted());
        // Calls that had not been sent were withdrawn: 12 calls of 64 KiB do not fit.
        assert!(ids.len() < 13, "{ids:?}");
    });
    thread::scope(|scope| {
        for _ in 0..4 {
            let host = &fixture.host;
            scope.spawn(move || {
                for _ in 0..3 {
                    expect_timeout(SHORT, || call(host, NUMBER.get(), [0; 4]));
                }
            });
        }
    });
    go_on.send(()).unwrap();
    let start = Instant::now();
    while fixture.call([0, 77, 0, 0]) != 77 {
        assert!(start.elapsed() < LONG, "it never went on");
    }
    fixture.end();
}

#[test]
fn half_a_frame_is_no_answer_and_the_other_half_may_come() {
    let fixture = fixture(&[], SHORT, |mut peer| {
        let late = peer.next().unwrap();
        let outputs = [&[][..]; 4];
        let frame = Answer {
            result: Ok(4),
            outputs,
        };
        let late = frame.encode(late.id);
        // A byte now and then keeps nobody waiting longer.
        for byte in &late[..late.len() - 1] {
            peer.send(&[*byte]);
            thread::sleep(Duration::from_millis(5));
        }
        let asked = peer.next().unwrap();
        peer.send(&late[late.len() - 1..]);
        let now = frame.encode(asked.id);
        let (first, second) = now.split_at(30);
        peer.send(first);
        thread::sleep(Duration::from_millis(10));
        peer.send(second);
    });
    expect_timeout(SHORT, || fixture.call([0; 4]));
    assert_eq!(fixture.call([0; 4]), 4);
    fixture.end();
}

#[test]
fn the_time_limit_holds_after_a_long_rest() {
    let fixture = fixture(&[], SHORT, |mut peer| {
        for _ in 0..2 {
            let asked = peer.next().unwrap();
            peer.answer(asked.id, Ok(1));
            peer.next().unwrap();
        }
        assert!(peer.next().is_none());
    });
    for _ in 0..2 {
        assert_eq!(fixture.call([0; 4]), 1);
        // The thread that gives calls up sleeps for ever by now.
        thread::sleep(SHORT * 3);
        expect_timeout(SHORT, || fixture.call([0; 4]));
    }
    fixture.end();
}
