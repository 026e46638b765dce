// SPDX-License-Identifier: MIT OR Apache-2.0
//! Batches whose entries a process answers. Where no answer can come later, the thread waits:
//! for one entry after the other.

use crate::fake_vcpu::call;
use crate::peer::{connect, fixture, Fixture, LONG, NUMBER, SHORT};
use hcall_abi::batch::{BatchEntry, STOP_ON_ERROR};
use hcall_abi::number::{BATCH, ECHO};
use hcall_abi::HypercallNumber;
use std::time::Instant;
use vm_memory::{Bytes, GuestAddress};

const PLACE: u64 = 0x100;
const EIO: i64 = -5;
const ETIMEDOUT: i64 = -110;
/// What the results are before anything has answered.
const UNTOUCHED: i64 = 0x5555;

/// Calls one batch with an entry for each of `numbers`, whose arguments are its index and 100;
/// how many were answered, and the results.
fn batch(fixture: &Fixture, numbers: &[HypercallNumber], flags: u64) -> (i64, Vec<i64>) {
    let entries = (0..).zip(numbers).flat_map(|(index, number)| {
        let mut entry = BatchEntry::new(*number, [index, 100, 0, 0]);
        entry.result = UNTOUCHED;
        entry.to_bytes()
    });
    let mut bytes: Vec<u8> = entries.collect();
    let memory = &fixture.memory;
    memory.write_slice(&bytes, GuestAddress(PLACE)).unwrap();
    let arguments = [PLACE, numbers.len() as u64, flags, 0];
    let answered = call(&fixture.host, BATCH.get(), arguments);
    memory.read_slice(&mut bytes, GuestAddress(PLACE)).unwrap();
    let results = bytes
        .chunks_exact(size_of::<BatchEntry>())
        .map(|entry| BatchEntry::from_bytes(entry.try_into().unwrap()).result);
    (answered, results.collect())
}

#[test]
fn entries_are_answered_one_after_the_other() {
    let fixture = fixture(&[], LONG, |mut peer| peer.add());
    let (answered, results) = batch(&fixture, &[NUMBER; 20], 0);
    assert_eq!(answered, 20);
    assert!(results.iter().copied().eq(100..120), "{results:?}");
    fixture.end();
}

#[test]
fn the_handler_ends_and_another_takes_its_place() {
    let fixture = fixture(&[], LONG, |mut peer| {
        for _ in 0..3 {
            let asked = peer.next().unwrap();
            peer.answer(asked.id, Ok(asked.request().arguments[0]));
        }
        // Asked, and gone without an answer.
        peer.next().unwrap();
    });
    let start = Instant::now();
    let numbers = [NUMBER, NUMBER, NUMBER, NUMBER, ECHO, NUMBER];
    let (answered, results) = batch(&fixture, &numbers, 0);
    assert_eq!((answered, &results[..]), (6, &[0, 1, 2, EIO, 4, EIO][..]));
    let (answered, results) = batch(&fixture, &numbers, STOP_ON_ERROR);
    assert_eq!(answered, 1);
    assert_eq!(results[..2], [EIO, UNTOUCHED]);
    assert!(start.elapsed() < LONG / 4, "nobody waits for who is gone");

    let (handler, peer) = connect(&[], LONG, |mut peer| {
        peer.greet();
        peer.add();
    });
    let table = fixture.host.hypercalls();
    let handler = handler.expect("the greeting").into_handler();
    table.replace(NUMBER, handler).expect("it is there");
    let (answered, results) = batch(&fixture, &numbers, STOP_ON_ERROR);
    assert_eq!(answered, 6);
    assert_eq!(results, [100, 101, 102, 103, 4, 105]);
    fixture.end();
    peer.join().expect("the second is left as well");
}

#[test]
fn an_entry_that_is_not_answered_is_given_up_and_the_next_are_answered() {
    let fixture = fixture(&[], SHORT, |mut peer| {
        while let Some(asked) = peer.next() {
            let index = asked.request().arguments[0];
            if index != 1 {
                peer.answer(asked.id, Ok(index));
            }
        }
    });
    let start = Instant::now();
    let (answered, results) = batch(&fixture, &[NUMBER; 4], 0);
    assert_eq!((answered, &results[..]), (4, &[0, ETIMEDOUT, 2, 3][..]));
    assert!(start.elapsed() >= SHORT);
    let (answered, results) = batch(&fixture, &[NUMBER; 4], STOP_ON_ERROR);
    assert_eq!(answered, 2);
    assert_eq!(results, [0, ETIMEDOUT, UNTOUCHED, UNTOUCHED]);
    fixture.end();
}
