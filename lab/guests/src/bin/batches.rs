// SPDX-License-Identifier: MIT OR Apache-2.0
//! Batches: every answer of every entry, every way to be refused, and what a call in one
//! costs (command line `measure`).
#![no_std]
#![no_main]

use core::arch::x86_64::_rdtsc;
use hcall_guest::abi::batch::BatchEntry;
use hcall_guest::abi::cpuid::Features;
use hcall_guest::abi::layout::{Clock, TimeValue};
use hcall_guest::abi::number::{BATCH, ECHO, RANDOM, RING_SETUP, TIME};
use hcall_guest::batch::{Batch, OnError};
use hcall_guest::unikernel::{batch, command_line, entry, println, stats};
use hcall_guest::{core_calls, hcall3, CallError, Errno, HypercallNumber};
use hcall_lab_contract::{mix, ArgumentSequence, FAIL, MIX, UNREGISTERED};
use hcall_lab_contract::{BATCHED_CALLS, BATCH_ROUNDS, BATCH_SIZE};

entry!(main);

/// Size of this guest's memory.
const MEMORY_END: u64 = 256 << 20;
/// The host's limit for a batch.
const LARGEST: usize = 1024;

static mut MEMORY: [BatchEntry; LARGEST] = [BatchEntry::new(ECHO, [0; 4]); LARGEST];

fn main() {
    let memory = &raw mut MEMORY;
    // SAFETY: the only reference, made once.
    let memory = unsafe { &mut *memory };
    if command_line() == "measure" {
        return measure(&mut memory[..BATCH_SIZE]);
    }
    let host = hcall_guest::host().expect("an hcall host").advertisement;
    assert!(host.features.contains(Features::BATCH));
    assert_eq!(host.limits.batch_entries as usize, LARGEST);

    every_answer(&mut memory[..BATCH_SIZE]);
    errors(memory);
    whole_limit(memory);
    addresses(memory);
    numbers(memory);
    memory_of_calls(memory);
    counted(memory);
    println!("the host lives");
}

/// The calls of each arity with the arguments that the host expects, in batches that do not
/// divide their number.
fn every_answer(memory: &mut [BatchEntry]) {
    for (arity, number) in MIX.into_iter().enumerate() {
        let mut sequence = ArgumentSequence::new(arity as u64);
        let mut due = sequence.clone();
        let mut left = BATCHED_CALLS;
        while left > 0 {
            let mut calls = Batch::new(memory);
            for _ in 0..left.min(BATCH_SIZE as u64) {
                let arguments = sequence.next_arguments(arity);
                calls
                    .push(number, &arguments[..arity])
                    .expect("there is memory");
            }
            let answered = batch(&mut calls, OnError::Continue).expect("a batch");
            assert_eq!(answered, calls.len());
            for answer in calls.results() {
                assert_eq!(answer, Ok(mix(arity as u64, due.next_arguments(arity))));
            }
            left -= answered as u64;
        }
    }
}

fn errors(memory: &mut [BatchEntry]) {
    let errno = |errno| Some(Err(CallError::Errno(errno)));
    for (on_error, last) in [(OnError::Continue, Some(Ok(2))), (OnError::Stop, None)] {
        let mut calls = Batch::new(memory);
        for (number, argument) in [(ECHO, 1), (FAIL, 5), (ECHO, 2), (UNREGISTERED, 0)] {
            calls.push(number, &[argument]).expect("there is memory");
        }
        let answered = batch(&mut calls, on_error).expect("a batch");
        assert_eq!(answered, if on_error == OnError::Stop { 2 } else { 4 });
        assert_eq!(calls.result(0), Some(Ok(1)));
        assert_eq!(calls.result(1), errno(Errno::EIO));
        assert_eq!(calls.result(2), last);
        let unknown = errno(Errno::ENOSYS);
        assert_eq!(calls.result(3), unknown.filter(|_| answered == 4));
    }
}

fn whole_limit(memory: &mut [BatchEntry]) {
    let mut calls = Batch::new(memory);
    for value in 0..LARGEST as u64 {
        calls.push(ECHO, &[value]).expect("there is memory");
    }
    assert_eq!(batch(&mut calls, OnError::Stop), Ok(LARGEST));
    assert!(calls.results().eq((0..LARGEST as u64).map(Ok)));
    let mut none = Batch::new(&mut []);
    assert_eq!(batch(&mut none, OnError::Continue), Ok(0));
}

fn gpa_of(entry: &mut BatchEntry) -> u64 {
    (&raw mut *entry).expose_provenance() as u64
}

#[track_caller]
fn refused(gpa: u64, count: u64, flags: u64, errno: Errno) {
    let error = hcall3(BATCH, gpa, count, flags).expect_err("a hostile batch");
    assert_eq!(error.errno(), Some(errno), "{gpa:#x} {count:#x} {flags:#x}");
}

fn addresses(memory: &mut [BatchEntry]) {
    let good = gpa_of(&mut memory[0]);
    for gpa in [
        MEMORY_END,
        MEMORY_END - 56,
        1 << 32,
        1 << 52,
        u64::MAX - 7,
        u64::MAX - 63,
    ] {
        refused(gpa, 1, 0, Errno::EFAULT);
    }
    refused(MEMORY_END - 64, 2, 0, Errno::EFAULT);
    for gpa in [good + 1, good + 4, u64::MAX] {
        refused(gpa, 1, 0, Errno::EINVAL);
    }
    for flags in [1 << 1, 1 << 32, u64::MAX] {
        refused(good, 1, flags, Errno::EINVAL);
    }
    for count in [LARGEST as u64 + 1, 1 << 32, u64::MAX, u64::MAX / 64 + 2] {
        refused(good, count, 0, Errno::E2BIG);
    }
    // No entries: no memory is touched, wherever they are.
    assert_eq!(hcall3(BATCH, u64::MAX, 0, 0), Ok(0));
    // The last entry that memory has.
    let last = core::ptr::with_exposed_provenance_mut::<BatchEntry>(MEMORY_END as usize - 64);
    // SAFETY: memory of this guest, mapped to itself, in which nothing is.
    unsafe { last.write_volatile(BatchEntry::new(ECHO, [9, 0, 0, 0])) };
    assert_eq!(hcall3(BATCH, MEMORY_END - 64, 1, 0), Ok(1));
    // SAFETY: as above.
    assert_eq!(unsafe { last.read_volatile() }.result, 9);
}

/// Entries that no builder makes.
fn numbers(memory: &mut [BatchEntry]) {
    let einval = -i64::from(Errno::EINVAL.get());
    let good = BatchEntry::new(ECHO, [1, 0, 0, 0]);
    let own_gpa = gpa_of(&mut memory[1]);
    for (bad, due) in [
        (BatchEntry::new(BATCH, [own_gpa, 1, 0, 0]), einval),
        (BatchEntry::new(RING_SETUP, [0; 4]), einval),
        (BatchEntry { flags: 1, ..good }, einval),
        (
            BatchEntry {
                reserved: [0, 1],
                ..good
            },
            einval,
        ),
        (BatchEntry { number: 0, ..good }, -1000),
        (
            BatchEntry {
                number: 1 << 31,
                ..good
            },
            -38,
        ),
    ] {
        memory[0] = good;
        memory[1] = bad;
        memory[2] = good;
        let gpa = gpa_of(&mut memory[0]);
        assert_eq!(hcall3(BATCH, gpa, 3, 0), Ok(3));
        assert_eq!(
            [0, 1, 2].map(|index| memory[index].result),
            [1, due, 1],
            "{bad:?}"
        );
    }
}

/// Calls that write memory: somewhere else, and over the batch itself.
fn memory_of_calls(memory: &mut [BatchEntry]) {
    let mut times = [TimeValue::default(); 2];
    let gpas: [u64; 2] =
        core::array::from_fn(|index| (&raw mut times[index]).expose_provenance() as u64);
    let mut calls = Batch::new(memory);
    for gpa in gpas {
        calls
            .push(TIME, &[Clock::Monotonic.raw(), gpa])
            .expect("there is memory");
    }
    assert_eq!(batch(&mut calls, OnError::Stop), Ok(2));
    let [first, second] = times.map(|time| (time.seconds, time.nanoseconds));
    assert!(second > first, "{first:?} {second:?}");

    for entry in memory.iter_mut() {
        *entry = BatchEntry::new(ECHO, [3, 0, 0, 0]);
    }
    let gpa = gpa_of(&mut memory[0]);
    let length = size_of_val(memory) as u64;
    memory[0] = BatchEntry::new(RANDOM, [gpa, length, 0, 0]);
    // Whatever numbers that made, but none that ends this VM (1 in 2^31 an entry): the batch
    // is answered whole, and the host lives.
    assert_eq!(hcall3(BATCH, gpa, LARGEST as u64, 0), Ok(LARGEST as u64));
    assert_eq!(core_calls::echo(4), Ok(4));
}

fn counted(memory: &mut [BatchEntry]) {
    let before = stats().expect("STATS");
    let mut calls = Batch::new(memory);
    for number in [ECHO, UNREGISTERED, ECHO] {
        calls.push(number, &[1]).expect("there is memory");
    }
    assert_eq!(batch(&mut calls, OnError::Continue), Ok(3));
    let after = stats().expect("STATS");
    // The entries, BATCH itself, and the second STATS.
    assert_eq!(after.calls - before.calls, 5);
    assert_eq!(after.unknown - before.unknown, 1);
}

/// Prints what a call costs alone and in a batch, in cycles of the time-stamp counter: the
/// median of rounds, each of which measures both, batches put together and read included.
fn measure(memory: &mut [BatchEntry]) {
    const NUMBER: HypercallNumber = ECHO;
    let mut alone = [0; BATCH_ROUNDS];
    let mut batched = [0; BATCH_ROUNDS];
    for round in 0..BATCH_ROUNDS {
        alone[round] = cycles(|| {
            for value in 0..BATCH_SIZE as u64 {
                assert_eq!(hcall_guest::hcall1(NUMBER, value), Ok(value));
            }
        });
        batched[round] = cycles(|| {
            let mut calls = Batch::new(memory);
            for value in 0..BATCH_SIZE as u64 {
                calls.push(NUMBER, &[value]).expect("there is memory");
            }
            assert_eq!(batch(&mut calls, OnError::Continue), Ok(BATCH_SIZE));
            assert!(calls.results().eq((0..BATCH_SIZE as u64).map(Ok)));
        });
    }
    println!("alone {}", median(&mut alone) / BATCH_SIZE as u64);
    println!("batched {}", median(&mut batched) / BATCH_SIZE as u64);
}

fn cycles(work: impl FnOnce()) -> u64 {
    // SAFETY: every x86-64 processor has the instruction.
    let now = || unsafe { _rdtsc() };
    let start = now();
    work();
    now() - start
}

fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}
