// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ring's arithmetic, and its two halves taking turns; the protocol with both at once is
//! in `ring_loom`.

use hcall_abi::number::{CORE_CALLS, ECHO};
use hcall_abi::ring::{
    passed, RingCompletion, RingEntry, RingLayout, RingSetup, RingStatus, HEADER_BYTES,
    REASON_COMPLETION, REASON_HOST, REASON_SUBMISSION,
};
use hcall_abi::ring_protocol::{
    GuestHalf, HostHalf, Notify, Rest, RingDamage, RingFull, RingMemory, RingWord, Taken,
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// The memory of a ring for one thread.
#[derive(Debug)]
struct Memory {
    words: [Cell<u32>; 8],
    entries: RefCell<Vec<RingEntry>>,
    completions: RefCell<Vec<RingCompletion>>,
}

impl Memory {
    fn new(entries: u32) -> Self {
        Self {
            words: std::array::from_fn(|_| Cell::new(0)),
            entries: RefCell::new(vec![RingEntry::default(); entries as usize]),
            completions: RefCell::new(vec![RingCompletion::default(); entries as usize]),
        }
    }

    fn word(&self, word: RingWord) -> &Cell<u32> {
        &self.words[match word {
            RingWord::SubmissionTail => 0,
            RingWord::SubmissionHead => 1,
            RingWord::CompletionTail => 2,
            RingWord::CompletionHead => 3,
            RingWord::SubmissionEvent => 4,
            RingWord::CompletionEvent => 5,
            RingWord::Status => 6,
            _ => 7,
        }]
    }
}

impl RingMemory for &Memory {
    fn load_relaxed(&self, word: RingWord) -> u32 {
        self.word(word).get()
    }

    fn load_acquire(&self, word: RingWord) -> u32 {
        self.word(word).get()
    }

    fn store_relaxed(&self, word: RingWord, value: u32) {
        self.word(word).set(value);
    }

    fn store_release(&self, word: RingWord, value: u32) {
        self.word(word).set(value);
    }

    fn fence(&self) {}

    fn read_entry(&self, index: u32) -> RingEntry {
        let entries = self.entries.borrow();
        entries[index as usize % entries.len()]
    }

    fn write_entry(&self, index: u32, entry: &RingEntry) {
        let mut entries = self.entries.borrow_mut();
        let place = index as usize % entries.len();
        entries[place] = *entry;
    }

    fn read_completion(&self, index: u32) -> RingCompletion {
        let completions = self.completions.borrow();
        completions[index as usize % completions.len()]
    }

    fn write_completion(&self, index: u32, completion: &RingCompletion) {
        let mut completions = self.completions.borrow_mut();
        let place = index as usize % completions.len();
        completions[place] = *completion;
    }
}

const ENTRIES: u32 = 4;

fn halves(memory: &Memory, start: u32) -> (GuestHalf<&Memory>, HostHalf<&Memory>) {
    let layout = RingLayout::new(ENTRIES).expect("a power of two");
    HostHalf::prepare_at(&memory, start);
    (
        GuestHalf::starting_at(memory, layout, start),
        HostHalf::starting_at(memory, layout, start),
    )
}

fn entry(user_data: u64) -> RingEntry {
    RingEntry::new(ECHO, [user_data, 0, 0, 0], user_data)
}

/// Answers everything there is; returns how many.
fn serve(host: &mut HostHalf<&Memory>) -> u32 {
    let mut served = 0;
    while let Ok(Taken::Entry(entry)) = host.take() {
        host.post(&RingCompletion {
            user_data: entry.user_data,
            result: entry.arguments[0] as i64,
            reserved: [0; 2],
        });
        served += 1;
    }
    served
}

#[test]
fn an_event_is_passed_exactly_by_the_entry_it_names() {
    for old in [0, 1, 7, u32::MAX - 1, u32::MAX] {
        for added in 0..5_u32 {
            let new = old.wrapping_add(added);
            for distance in 0..8_u32 {
                let event = old.wrapping_add(distance).wrapping_sub(2);
                let is_among = (0..added).any(|step| old.wrapping_add(step) == event);
                assert_eq!(passed(event, old, new), is_among, "{event} {old} {new}");
            }
        }
    }
}

#[test]
fn no_index_leads_out_of_the_region() {
    for order in 0..11 {
        let layout = RingLayout::new(1 << order).expect("a power of two");
        let mut places = BTreeMap::new();
        for index in (0..2 * layout.entries()).chain([u32::MAX, 1 << 31]) {
            let (entry, completion) = (layout.submission(index), layout.completion(index));
            assert!(entry >= HEADER_BYTES && entry + 64 <= layout.completions());
            assert!(completion >= layout.completions() && completion + 32 <= layout.bytes());
            places.insert(entry, completion);
        }
        assert_eq!(places.len(), 1 << order, "as many places as entries");
    }
    for bad in [0, 3, 1023, u32::MAX] {
        assert_eq!(RingLayout::new(bad), None);
    }
}

#[test]
fn more_than_there_is_room_for_is_seen() {
    let layout = RingLayout::new(8).expect("a power of two");
    for head in [0, 5, u32::MAX - 3] {
        for ahead in 0..=8 {
            assert_eq!(layout.occupied(head, head.wrapping_add(ahead)), Some(ahead));
        }
        for ahead in [9, 1 << 31, u32::MAX] {
            assert_eq!(layout.occupied(head, head.wrapping_add(ahead)), None);
        }
    }
}

#[test]
fn structures_survive_memory() {
    let mut setup = RingSetup {
        gpa: 0x1122_3344_5566_7000,
        bytes: 1 << 33,
        entries: 64,
        flags: 0x8000_0001,
        range_count: 3,
        interrupt: 9,
        doorbell_kind: 2,
        doorbell_value: 5,
        doorbell_address: 1 << 40,
        ..RingSetup::default()
    };
    setup.ranges[15].last = u32::MAX;
    setup.reserved[9] = u64::MAX;
    assert_eq!(RingSetup::from_bytes(&setup.to_bytes()), setup);
    let entry = RingEntry {
        flags: 7,
        reserved: [1, u64::MAX],
        ..RingEntry::new(ECHO, [1, 2, 3, u64::MAX], 4)
    };
    assert_eq!(RingEntry::from_words(entry.to_words()), entry);
    assert!(!entry.is_well_formed());
    let completion = RingCompletion {
        user_data: u64::MAX,
        result: -38,
        reserved: [0; 2],
    };
    assert_eq!(
        RingCompletion::from_words(completion.to_words()),
        completion
    );
}

#[test]
fn what_may_stand_in_a_ring() {
    let not: Vec<&str> = CORE_CALLS
        .into_iter()
        .filter(|(number, _)| !number.may_be_in_ring())
        .map(|(_, name)| name)
        .collect();
    assert_eq!(
        not,
        ["EXIT", "PANIC", "BATCH", "RING_SETUP", "RING_TEARDOWN"]
    );
}

#[test]
fn calls_come_back_in_order_across_the_end_of_the_indices() {
    let memory = Memory::new(ENTRIES);
    let (mut guest, mut host) = halves(&memory, u32::MAX - 5);
    let (mut submitted, mut taken) = (0, 0);
    for round in 0..40_u64 {
        for _ in 0..=round % 4 {
            if guest.submit(&entry(submitted)).is_ok() {
                submitted += 1;
            }
        }
        let _ = guest.publish();
        serve(&mut host);
        assert_eq!(guest.complete(), None, "nothing before it is published");
        let _ = host.publish();
        while let Some(completion) = guest.complete() {
            assert_eq!(completion.user_data, taken);
            assert_eq!(completion.result, taken as i64);
            taken += 1;
        }
        assert_eq!(taken, submitted);
    }
    assert!(taken > 40);
}

#[test]
fn a_guest_has_no_more_outstanding_than_there_is_room_for() {
    let memory = Memory::new(ENTRIES);
    let (mut guest, mut host) = halves(&memory, 0);
    for index in 0..u64::from(ENTRIES) {
        assert_eq!(guest.submit(&entry(index)), Ok(()));
    }
    assert_eq!(guest.submit(&entry(9)), Err(RingFull));
    let _ = guest.publish();
    assert_eq!(serve(&mut host), ENTRIES);
    let _ = host.publish();
    assert_eq!(guest.submit(&entry(9)), Err(RingFull), "none is taken yet");
    assert!(guest.complete().is_some());
    assert_eq!(guest.submit(&entry(9)), Ok(()));
    let _ = guest.publish();
    assert_eq!(serve(&mut host), 1, "there is room for its completion");
}

#[test]
fn the_doorbell_is_wanted_once_for_each_sleep() {
    let memory = Memory::new(ENTRIES);
    let (mut guest, mut host) = halves(&memory, 0);
    let submit = |guest: &mut GuestHalf<&Memory>| {
        guest.submit(&entry(0)).expect("room");
        guest.publish()
    };
    assert_eq!(submit(&mut guest), Notify::Peer, "it sleeps at first");
    assert_eq!(submit(&mut guest), Notify::Nobody, "and is rung for once");
    assert_eq!(guest.publish(), Notify::Nobody, "nothing new");
    serve(&mut host);
    assert_eq!(host.listen(), Ok(Rest::Sleep));
    assert_eq!(submit(&mut guest), Notify::Peer);
    assert_eq!(host.listen(), Ok(Rest::Stay), "there is an entry");
}

#[test]
fn the_interrupt_is_wanted_only_by_who_listens() {
    let memory = Memory::new(ENTRIES);
    let (mut guest, mut host) = halves(&memory, 0);
    let mut answer_one = |guest: &mut GuestHalf<&Memory>| {
        guest.submit(&entry(0)).expect("room");
        let _ = guest.publish();
        serve(&mut host);
        host.publish()
    };
    assert_eq!(answer_one(&mut guest), Notify::Nobody);
    assert_eq!(guest.listen(), Rest::Stay, "one is there");
    assert!(guest.complete().is_some());
    assert_eq!(guest.listen(), Rest::Sleep);
    assert_eq!(answer_one(&mut guest), Notify::Peer);
    assert_eq!(answer_one(&mut guest), Notify::Nobody);
}

#[test]
fn the_end_is_told() {
    for (end, status) in [
        (None, RingStatus::Closed),
        (
            Some(REASON_SUBMISSION),
            RingStatus::Broken(REASON_SUBMISSION),
        ),
        (Some(REASON_HOST), RingStatus::Broken(REASON_HOST)),
    ] {
        let memory = Memory::new(ENTRIES);
        assert_eq!(RingStatus::from_words(0, 0), RingStatus::Unserved);
        let (mut guest, host) = halves(&memory, 0);
        assert_eq!(guest.status(), RingStatus::Running);
        match end {
            None => host.close(),
            Some(reason) => host.break_down(reason),
        }
        assert_eq!(guest.status(), status);
        assert_eq!(guest.listen(), Rest::Stay, "nobody would wake it");
    }
}

#[test]
fn damage_is_found() {
    let memory = Memory::new(ENTRIES);
    let (_, mut host) = halves(&memory, 0);
    memory.word(RingWord::SubmissionTail).set(ENTRIES + 1);
    assert_eq!(host.take(), Err(RingDamage::Submission));
    assert_eq!(RingDamage::Submission.reason(), REASON_SUBMISSION);

    let memory = Memory::new(ENTRIES);
    let (_, mut host) = halves(&memory, 0);
    memory.word(RingWord::SubmissionTail).set(ENTRIES);
    assert_eq!(serve(&mut host), ENTRIES);
    memory.word(RingWord::SubmissionTail).set(2 * ENTRIES);
    assert_eq!(host.take(), Ok(Taken::NoRoom), "nothing is overwritten");
    memory.word(RingWord::CompletionHead).set(ENTRIES + 1);
    assert_eq!(host.take(), Err(RingDamage::Completion));
    assert_eq!(RingDamage::Completion.reason(), REASON_COMPLETION);
}

/// A host that claims more than was asked of it is not believed.
#[test]
fn completions_that_nobody_asked_for_are_not_taken() {
    let memory = Memory::new(ENTRIES);
    let (mut guest, _) = halves(&memory, 0);
    memory.word(RingWord::CompletionTail).set(1);
    assert_eq!(guest.complete(), None);
    guest.submit(&entry(0)).expect("room");
    let _ = guest.publish();
    assert!(guest.complete().is_some());
    memory.word(RingWord::CompletionTail).set(u32::MAX);
    assert_eq!(guest.complete(), None);
}
