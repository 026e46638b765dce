// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ring's protocol in every order that the memory model allows, by loom. Entries stand
//! in cells that notice an access that is not ordered before another; a wakeup that is lost
//! is a deadlock, which loom reports.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p hcall-abi --test ring_loom`
#![cfg(loom)]

use hcall_abi::ring::{RingCompletion, RingEntry, RingLayout, RingStatus};
use hcall_abi::ring_protocol::{GuestHalf, HostHalf, Notify, Rest, RingMemory, RingWord, Taken};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{fence, AtomicBool, AtomicU32, Ordering};
use loom::sync::{Arc, Notify as Signal};
use loom::thread;
use std::env;
use std::process::Command;

const WORDS: [RingWord; 8] = [
    RingWord::SubmissionTail,
    RingWord::SubmissionHead,
    RingWord::CompletionTail,
    RingWord::CompletionHead,
    RingWord::SubmissionEvent,
    RingWord::CompletionEvent,
    RingWord::Status,
    RingWord::Reason,
];

/// Whether the memory's full fence is one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fence {
    Full,
    /// As a protocol would have it that forgot them.
    None,
}

struct Shared {
    words: [AtomicU32; WORDS.len()],
    entries: Vec<UnsafeCell<RingEntry>>,
    completions: Vec<UnsafeCell<RingCompletion>>,
    fence: Fence,
    doorbell: Signal,
    interrupt: Signal,
    stop: AtomicBool,
}

#[derive(Clone)]
struct Memory(Arc<Shared>);

impl Memory {
    fn new(entries: u32, fence: Fence) -> Self {
        Self(Arc::new(Shared {
            words: std::array::from_fn(|_| AtomicU32::new(0)),
            entries: (0..entries).map(|_| UnsafeCell::default()).collect(),
            completions: (0..entries).map(|_| UnsafeCell::default()).collect(),
            fence,
            doorbell: Signal::new(),
            interrupt: Signal::new(),
            stop: AtomicBool::new(false),
        }))
    }

    fn word(&self, word: RingWord) -> &AtomicU32 {
        let place = WORDS.iter().position(|known| *known == word);
        &self.0.words[place.expect("a word of the header")]
    }

    fn place(&self, index: u32) -> usize {
        index as usize % self.0.entries.len()
    }
}

impl RingMemory for Memory {
    fn load_relaxed(&self, word: RingWord) -> u32 {
        self.word(word).load(Ordering::Relaxed)
    }

    fn load_acquire(&self, word: RingWord) -> u32 {
        self.word(word).load(Ordering::Acquire)
    }

    fn store_relaxed(&self, word: RingWord, value: u32) {
        self.word(word).store(value, Ordering::Relaxed);
    }

    fn store_release(&self, word: RingWord, value: u32) {
        self.word(word).store(value, Ordering::Release);
    }

    fn fence(&self) {
        if self.0.fence == Fence::Full {
            fence(Ordering::SeqCst);
        }
    }

    fn read_entry(&self, index: u32) -> RingEntry {
        // SAFETY: loom fails the test if another thread may be writing.
        self.0.entries[self.place(index)].with(|entry| unsafe { *entry })
    }

    fn write_entry(&self, index: u32, entry: &RingEntry) {
        // SAFETY: loom fails the test if another thread may be accessing it.
        self.0.entries[self.place(index)].with_mut(|place| unsafe { *place = *entry });
    }

    fn read_completion(&self, index: u32) -> RingCompletion {
        // SAFETY: as in `read_entry`.
        self.0.completions[self.place(index)].with(|completion| unsafe { *completion })
    }

    fn write_completion(&self, index: u32, completion: &RingCompletion) {
        // SAFETY: as in `write_entry`.
        self.0.completions[self.place(index)].with_mut(|place| unsafe { *place = *completion });
    }
}

fn entry(user_data: u64) -> RingEntry {
    RingEntry {
        user_data,
        ..RingEntry::default()
    }
}

fn answer(entry: &RingEntry) -> RingCompletion {
    RingCompletion {
        user_data: entry.user_data,
        result: entry.user_data as i64 + 100,
        ..RingCompletion::default()
    }
}

/// A host that answers `burst` entries at a time and ends after `calls`, or when it is to
/// stop. Returns how many it has answered.
fn host(memory: Memory, layout: RingLayout, start: u32, calls: u64, burst: u32) -> u64 {
    let mut half = HostHalf::starting_at(memory.clone(), layout, start);
    let mut answered = 0;
    while answered < calls && !memory.0.stop.load(Ordering::Acquire) {
        let mut empty = false;
        for _ in 0..burst {
            match half.take().expect("the guest is correct") {
                Taken::Entry(entry) => {
                    assert_eq!(
                        entry.user_data, answered,
                        "in order, none lost, none doubled"
                    );
                    half.post(&answer(&entry));
                    answered += 1;
                }
                Taken::Empty => {
                    empty = true;
                    break;
                }
                Taken::NoRoom => {
                    memory.0.doorbell.wait();
                    break;
                }
            }
        }
        if half.publish() == Notify::Peer {
            memory.0.interrupt.notify();
        }
        if empty && answered < calls && half.listen() == Ok(Rest::Sleep) {
            memory.0.doorbell.wait();
        }
    }
    half.close();
    memory.0.interrupt.notify();
    answered
}

/// A guest that makes `calls`, `batch` of them at a time where there is room, and sleeps
/// whenever there is nothing to take.
fn guest(memory: Memory, layout: RingLayout, start: u32, calls: u64, batch: u64) {
    let mut half = GuestHalf::starting_at(memory.clone(), layout, start);
    let (mut submitted, mut taken) = (0, 0);
    while taken < calls {
        for _ in 0..batch {
            if submitted < calls && half.submit(&entry(submitted)).is_ok() {
                submitted += 1;
            }
        }
        if half.publish() == Notify::Peer {
            memory.0.doorbell.notify();
        }
        while half.outstanding() > 0 {
            match half.complete() {
                Some(completion) => {
                    assert_eq!(completion, answer(&entry(taken)), "in order");
                    taken += 1;
                }
                None if half.listen() == Rest::Sleep => memory.0.interrupt.wait(),
                None => {}
            }
        }
    }
}

/// What one model is to go through.
#[derive(Clone, Copy)]
struct Model {
    entries: u32,
    start: u32,
    calls: u64,
    batch: u64,
    burst: u32,
    fence: Fence,
    /// Most preemptions of one run; `None` for all.
    preemptions: Option<usize>,
}

impl Model {
    fn check(self) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = self.preemptions;
        builder.check(move || {
            let layout = RingLayout::new(self.entries).expect("a power of two");
            let memory = Memory::new(self.entries, self.fence);
            HostHalf::prepare_at(&memory, self.start);
            let served = {
                let memory = memory.clone();
                thread::spawn(move || host(memory, layout, self.start, self.calls, self.burst))
            };
            guest(memory, layout, self.start, self.calls, self.batch);
            assert_eq!(served.join().expect("the host ends"), self.calls);
        });
    }
}

const SMALL: Model = Model {
    entries: 2,
    start: 0,
    calls: 2,
    batch: 1,
    burst: 1,
    fence: Fence::Full,
    preemptions: Some(3),
};

#[test]
fn one_call_in_every_order() {
    Model {
        calls: 1,
        preemptions: None,
        ..SMALL
    }
    .check();
}

#[test]
fn calls_one_by_one() {
    SMALL.check();
}

#[test]
fn calls_in_bursts() {
    Model {
        calls: 3,
        batch: 2,
        burst: 2,
        ..SMALL
    }
    .check();
}

#[test]
fn places_are_used_again_across_the_end_of_the_indices() {
    Model {
        start: u32::MAX - 1,
        calls: 4,
        batch: 2,
        burst: 2,
        preemptions: Some(2),
        ..SMALL
    }
    .check();
}

#[test]
fn queues_of_one_entry() {
    Model {
        entries: 1,
        calls: 3,
        start: u32::MAX,
        preemptions: Some(2),
        ..SMALL
    }
    .check();
}

/// The models can fail: without the fences, a side sleeps on work. A process of its own,
/// because loom's threads do not survive a deadlock.
#[test]
fn without_fences_a_wakeup_is_lost() {
    let output = Command::new(env::current_exe().expect("a test knows itself"))
        .args(["--exact", "a_model_without_fences", "--nocapture"])
        .env(WITHOUT_FENCES, "1")
        .output()
        .expect("the test runs once more");
    let text = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "loom finds nothing wrong");
    assert!(
        text.contains("deadlock") || said.contains("deadlock"),
        "another failure:\n{said}\n{text}"
    );
}

/// Set for the process in which [`a_model_without_fences`] is to fail.
const WITHOUT_FENCES: &str = "HCALL_LOOM_WITHOUT_FENCES";

#[test]
fn a_model_without_fences() {
    if env::var_os(WITHOUT_FENCES).is_none() {
        return;
    }
    Model {
        fence: Fence::None,
        ..SMALL
    }
    .check();
}

/// A guest that has submitted more than it may: the host overwrites no completion, and goes
/// on when there is room.
#[test]
fn a_full_completion_queue_is_not_overwritten() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let layout = RingLayout::new(1).expect("a power of two");
        let memory = Memory::new(1, Fence::Full);
        HostHalf::prepare(&memory);
        let served = {
            let memory = memory.clone();
            thread::spawn(move || host(memory, layout, 0, 2, 1))
        };
        // The first entry, and the second as soon as the first was taken, though the
        // completion of the first was not.
        memory.write_entry(0, &entry(0));
        memory.store_release(RingWord::SubmissionTail, 1);
        memory.0.doorbell.notify();
        while memory.load_acquire(RingWord::CompletionTail) != 1 {
            thread::yield_now();
        }
        memory.write_entry(1, &entry(1));
        memory.store_release(RingWord::SubmissionTail, 2);
        memory.0.doorbell.notify();
        assert_eq!(memory.read_completion(0), answer(&entry(0)));
        memory.store_release(RingWord::CompletionHead, 1);
        memory.0.doorbell.notify();
        while memory.load_acquire(RingWord::CompletionTail) != 2 {
            thread::yield_now();
        }
        assert_eq!(memory.read_completion(1), answer(&entry(1)));
        assert_eq!(served.join().expect("the host ends"), 2);
    });
}

/// Tear-down while calls are submitted: what was executed has its completion, what was not
/// has none, and the guest learns of the end without sleeping for ever.
#[test]
fn teardown_races_with_submission() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(|| {
        let layout = RingLayout::new(2).expect("a power of two");
        let memory = Memory::new(2, Fence::Full);
        HostHalf::prepare(&memory);
        let served = {
            let memory = memory.clone();
            thread::spawn(move || host(memory, layout, 0, u64::MAX, 1))
        };
        let teardown = {
            let memory = memory.clone();
            thread::spawn(move || {
                memory.0.stop.store(true, Ordering::Release);
                memory.0.doorbell.notify();
            })
        };
        let mut half = GuestHalf::new(memory.clone(), layout);
        half.submit(&entry(0)).expect("room");
        if half.publish() == Notify::Peer {
            memory.0.doorbell.notify();
        }
        let mut taken = 0;
        loop {
            let status = half.status();
            if let Some(completion) = half.complete() {
                assert_eq!(completion, answer(&entry(taken)));
                taken += 1;
            } else if status == RingStatus::Closed {
                break;
            } else if half.listen() == Rest::Sleep {
                memory.0.interrupt.wait();
            }
        }
        teardown.join().expect("the tear-down ends");
        assert_eq!(served.join().expect("the host ends"), taken);
        assert_eq!(memory.load_acquire(RingWord::SubmissionHead), taken as u32);
    });
}
