// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guests that write anything into a ring: the host reads and writes nothing outside it,
//! takes no more than there can be, and neither spins nor dies.

use crate::machine::{errno, eventually, run_time, setup, this_thread, Machine, MEMORY, REGION};
use hcall_abi::number::{ECHO, PROBE};
use hcall_abi::ring::{
    RingCompletion, RingEntry, RingLayout, RingStatus, REASON_COMPLETION, REASON_SUBMISSION,
};
use hcall_abi::ring_protocol::{HostHalf, RingDamage, RingMemory, RingWord, Taken};
use hcall_abi::{Errno, HypercallNumber};
use hcall_vmm::ring::HostRegion;
use proptest::prelude::*;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use vm_memory::{Bytes, GuestAddress, GuestMemory, GuestMemoryMmap};

const ANSWER: HypercallNumber = HypercallNumber::user(0x200);

/// Words that are near something, and words that are anything.
fn word() -> impl Strategy<Value = u32> {
    prop_oneof![
        any::<u32>(),
        0..20_u32,
        (0..20_u32).prop_map(|distance| u32::MAX - distance)
    ]
}

/// What a guest does between two looks of the host.
#[derive(Clone, Copy, Debug)]
struct Write {
    tail: u32,
    head: u32,
    events: [u32; 2],
    /// What it writes into the words that are the host's.
    others: [u32; 4],
}

fn write() -> impl Strategy<Value = Write> {
    (
        word(),
        word(),
        [word(), word()],
        [word(), word(), word(), word()],
    )
        .prop_map(|(tail, head, events, others)| Write {
            tail,
            head,
            events,
            others,
        })
}

impl Write {
    fn apply(self, memory: &impl RingMemory) {
        memory.store_release(RingWord::SubmissionTail, self.tail);
        memory.store_release(RingWord::CompletionHead, self.head);
        memory.store_release(RingWord::SubmissionEvent, self.events[0]);
        memory.store_release(RingWord::CompletionEvent, self.events[1]);
        for (word, value) in [
            RingWord::SubmissionHead,
            RingWord::CompletionTail,
            RingWord::Status,
            RingWord::Reason,
        ]
        .into_iter()
        .zip(self.others)
        {
            memory.store_release(word, value);
        }
    }
}

/// The host's half against `writes`: returns how the ring ended. Panics if it takes more
/// than the guest can have submitted.
fn drive(
    memory: &GuestMemoryMmap,
    entries: u32,
    start: u32,
    writes: &[Write],
) -> Option<RingDamage> {
    let layout = RingLayout::new(entries).expect("a power of two");
    let slice = memory
        .get_slice(GuestAddress(REGION), layout.bytes() as usize)
        .expect("the region is memory");
    let region = HostRegion::new(slice, layout).expect("long enough and aligned");
    HostHalf::prepare_at(&region, start);
    let mut half = HostHalf::starting_at(region, layout, start);
    let mut taken_in_all = start;
    for (index, write) in writes.iter().enumerate() {
        write.apply(half.memory());
        let ahead = write.tail.wrapping_sub(taken_in_all);
        let announced = announced(&writes[..=index], taken_in_all, entries);
        let mut taken = 0;
        loop {
            match half.take() {
                Ok(Taken::Entry(entry)) => {
                    taken += 1;
                    assert!(taken <= announced, "took what is not there");
                    half.post(&RingCompletion {
                        user_data: entry.user_data,
                        ..RingCompletion::default()
                    });
                }
                Ok(Taken::Empty | Taken::NoRoom) => break,
                Err(damage) => {
                    let ahead = ahead.wrapping_sub(taken);
                    assert!(
                        damage == RingDamage::Completion || ahead > entries,
                        "a tail {ahead} ahead is no damage"
                    );
                    return Some(damage);
                }
            }
        }
        taken_in_all = taken_in_all.wrapping_add(taken);
        let _ = half.publish();
        if ahead > entries && taken == 0 {
            // It was not looked at because there is no room for completions.
            assert_eq!(half.take(), Ok(Taken::NoRoom));
        }
    }
    None
}

/// The most entries from `taken` on that the guest has said are there. It may have taken a tail
/// back since: an entry that was announced can be taken all the same.
fn announced(writes: &[Write], taken: u32, entries: u32) -> u32 {
    writes
        .iter()
        .map(|write| write.tail.wrapping_sub(taken))
        .filter(|ahead| *ahead <= entries)
        .max()
        .unwrap_or(0)
}

#[test]
fn a_tail_that_is_taken_back_was_announced() {
    let entries = 16;
    let layout = RingLayout::new(entries).expect("a power of two");
    let memory =
        GuestMemoryMmap::from_ranges(&[(GuestAddress(0), (REGION + layout.bytes()) as usize)])
            .expect("guest memory can be mapped");
    let write = |tail, head| Write {
        tail,
        head,
        events: [0; 2],
        others: [0; 4],
    };
    let start = 0_u32.wrapping_sub(19);
    let writes = [
        write(start.wrapping_add(16), 0),
        write(1, start.wrapping_add(3)),
        write(0, start.wrapping_add(18)),
    ];
    drive(&memory, entries, start, &writes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) {
        5_000
    } else {
        100_000
    }))]

    #[test]
    fn no_header_leads_outside_the_ring(
        order in 0_u32..7,
        start in word(),
        writes in prop::collection::vec(write(), 1..6),
    ) {
        let entries = 1 << order;
        let length = RingLayout::new(entries).expect("a power of two").bytes();
        // A guest memory that ends with the ring, and bytes before it that must stay.
        let end = REGION as usize + length as usize;
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), end)])
            .expect("guest memory can be mapped");
        memory.write_slice(&[0xa5; 256], GuestAddress(REGION - 256)).expect("memory");
        drive(&memory, entries, start, &writes);
        let mut before = [0; 256];
        memory.read_slice(&mut before, GuestAddress(REGION - 256)).expect("memory");
        prop_assert_eq!(before, [0xa5; 256]);
    }
}

#[test]
fn broken_indices_break_the_ring_and_say_why() {
    for (tail, head, reason) in [
        (9, 0, REASON_SUBMISSION),
        (u32::MAX, 0, REASON_SUBMISSION),
        (1 << 31, 0, REASON_SUBMISSION),
    ] {
        let machine = Machine::new();
        let (id, ring) = machine.set_up(&setup(8));
        let region = machine.region(&setup(8));
        region.store_release(RingWord::CompletionHead, head);
        region.store_release(RingWord::SubmissionTail, tail);
        machine.wiring.doorbell(id).write(1).expect("a doorbell");
        eventually("the ring breaks", || {
            ring.status() == RingStatus::Broken(reason)
        });
        assert_eq!(
            machine.host.counters().ring_calls(),
            0,
            "nothing was executed"
        );
        assert_eq!(machine.tear_down(id), 0, "a broken ring can be torn down");
        assert_eq!(machine.tear_down(id), errno(Errno::ENOENT));
    }
}

#[test]
fn a_completion_head_that_runs_ahead_breaks_the_ring() {
    let machine = Machine::new();
    machine
        .host
        .hypercalls()
        .register(ANSWER, |_| Ok(1))
        .expect("the number is free");
    let (id, mut ring) = machine.set_up(&setup(2));
    for _ in 0..2 {
        ring.submit(ANSWER, [0; 4], 0).expect("room");
    }
    let _ = ring.flush();
    eventually("both are answered", || {
        machine
            .region(&setup(2))
            .load_acquire(RingWord::CompletionTail)
            == 2
    });
    // The queue is full; the host looks at the head for the next entry.
    let region = machine.region(&setup(2));
    region.store_release(RingWord::CompletionHead, 3);
    region.store_release(RingWord::SubmissionTail, 3);
    machine.wiring.doorbell(id).write(1).expect("a doorbell");
    eventually("the ring breaks", || {
        ring.status() == RingStatus::Broken(REASON_COMPLETION)
    });
    assert_eq!(machine.tear_down(id), 0);
}

/// A guest that has filled both queues and takes nothing: the host waits, asleep, and goes
/// on when there is room.
#[test]
fn a_guest_that_takes_nothing_costs_nothing() {
    let machine = Machine::with(|config| config.poll = Duration::from_micros(50));
    let thread = Arc::new(OnceLock::new());
    let seen = Arc::clone(&thread);
    machine
        .host
        .hypercalls()
        .register(ANSWER, move |call| {
            seen.get_or_init(this_thread);
            Ok(call.arg::<0>())
        })
        .expect("the number is free");
    let (id, ring) = machine.set_up(&setup(2));
    let region = machine.region(&setup(2));
    let doorbell = machine.wiring.doorbell(id);
    let submit = |index: u32| {
        region.write_entry(
            index,
            &RingEntry::new(ANSWER, [index.into(), 0, 0, 0], index.into()),
        );
        region.store_release(RingWord::SubmissionTail, index + 1);
        doorbell.write(1).expect("a doorbell");
    };
    submit(0);
    submit(1);
    eventually("two are answered", || {
        region.load_acquire(RingWord::CompletionTail) == 2
    });
    submit(2);
    submit(3);
    // Asleep: between two looks its thread has not run at all.
    let thread = thread.get().expect("the handler ran");
    eventually("the host sleeps", || {
        let before = run_time(thread);
        std::thread::sleep(Duration::from_millis(20));
        run_time(thread) == before
    });
    assert_eq!(
        region.load_acquire(RingWord::CompletionTail),
        2,
        "nothing is overwritten"
    );
    assert_eq!(ring.status(), RingStatus::Running);
    region.store_release(RingWord::CompletionHead, 2);
    doorbell.write(1).expect("a doorbell");
    eventually("the rest is answered", || {
        region.load_acquire(RingWord::CompletionTail) == 4
    });
    assert_eq!(region.read_completion(3).result, 3);
    assert_eq!(machine.tear_down(id), 0);
}

#[test]
fn malformed_entries_are_answered_and_the_ring_lives() {
    let machine = Machine::new();
    machine
        .host
        .hypercalls()
        .register(ANSWER, |_| Ok(7))
        .expect("the number is free");
    let (_, ring) = machine.set_up(&setup(8));
    let region = machine.region(&setup(8));
    let good = RingEntry::new(ANSWER, [0; 4], 1);
    let entries = [
        RingEntry { flags: 1, ..good },
        RingEntry {
            reserved: [0, 1],
            ..good
        },
        RingEntry { number: 5, ..good },
        RingEntry {
            number: u32::MAX,
            ..good
        },
        RingEntry {
            number: ECHO.get(),
            ..good
        },
        good,
    ];
    for (index, entry) in (0..).zip(&entries) {
        region.write_entry(index, entry);
    }
    region.store_release(RingWord::SubmissionTail, entries.len() as u32);
    machine.wiring.doorbell(0).write(1).expect("a doorbell");
    eventually("all are answered", || {
        region.load_acquire(RingWord::CompletionTail) == entries.len() as u32
    });
    let results: Vec<i64> = (0..entries.len() as u32)
        .map(|index| region.read_completion(index).result)
        .collect();
    assert_eq!(
        results,
        [
            errno(Errno::EINVAL),
            errno(Errno::EINVAL),
            hcall_abi::result::KVM_ENOSYS_RESULT,
            errno(Errno::ENOSYS),
            errno(Errno::ENOSYS),
            7
        ]
    );
    assert_eq!(ring.status(), RingStatus::Running);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Set-ups that are anything: answered, and what is set up can be torn down.
    #[test]
    fn any_setup_is_answered(bytes in prop::collection::vec(any::<u8>(), 256), keep in 0..64_u32) {
        let machine = Machine::new();
        let good = setup(8).to_bytes();
        // A good one with some of its bytes replaced.
        let mut mixed = good;
        for (index, byte) in bytes.iter().enumerate().take(48) {
            if (index as u32 * 7 + keep) % 16 == 0 {
                mixed[index] = *byte;
            }
        }
        let wanted = hcall_abi::ring::RingSetup::from_bytes(&mixed);
        let id = machine.try_set_up(&wanted);
        if id >= 0 {
            prop_assert!(wanted.gpa % 4096 == 0 && wanted.gpa < MEMORY as u64);
            prop_assert_eq!(machine.tear_down(id as u32), 0);
        }
        prop_assert_eq!(machine.wiring.connected(), (0, 0));
        prop_assert_eq!(machine.call(PROBE.get(), [0; 4]), errno(Errno::ENOSYS));
    }
}
