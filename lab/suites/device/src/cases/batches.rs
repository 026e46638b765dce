// SPDX-License-Identifier: MIT OR Apache-2.0
//! `BATCH`: every call of a batch is made and answered, or none is.

use super::refusals::NOT_MEMORY;
use crate::compat;
use crate::failure::{equal, passes, Check, Failure};
use crate::fdinfo;
use crate::memory::{Pages, Place, PAGE};
use crate::raw::{refused, RawDevice};
use crate::Kernel;
use hcall_guest::abi::batch::{BatchEntry, STOP_ON_ERROR};
use hcall_guest::abi::ioctl::{Batch as BatchRequest, BATCH, BATCH_MAX};
use hcall_guest::abi::number::{self, ECHO, HYPERV_BIT, RANDOM, RING_SETUP, TIME};
use hcall_guest::abi::Transport;
use hcall_guest::batch::{Batch, OnError};
use hcall_guest::device::{Device, DeviceError};
use hcall_guest::{CallError, Errno as HostErrno, HypercallNumber};
use hcall_ktap::{CaseResult, Suite, Verdict};
use hcall_lab_contract::{batch_gain, mix, ArgumentSequence, COUNT, FAIL, MIX, UNREGISTERED};
use hcall_lab_contract::{BATCH_ROUNDS, BATCH_SIZE};
use rustix::io::Errno;
use rustix::mm::MprotectFlags;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

const ENTRY: usize = size_of::<BatchEntry>();
const MOST: usize = BATCH_MAX as usize;
/// Batches that are made while another thread changes their entries.
const RACES: usize = 300;

pub(super) fn add(
    suite: Suite<'_>,
    kernel: Kernel,
    transport: Transport,
    host_processors: usize,
) -> Suite<'_> {
    let suite = suite
        .case("batches of 1 to 256 calls are answered", || {
            passes(every_answer())
        })
        .case("the host's errnos come back in the results", || {
            passes(errors())
        })
        .case("a batch can stop at an error", || passes(stops()))
        .case("nothing but results is copied back", || {
            passes(only_results())
        })
        .case("a batch of no calls, and of too many", move || {
            passes(counts(transport))
        })
        .case(
            "reserved bits of a batch: EINVAL, nothing made",
            move || passes(reserved_bits(transport)),
        )
        .case(
            "a forbidden number among others: EPERM, counted, nothing made",
            move || passes(forbidden_numbers(transport)),
        )
        .case("batches in no memory: EFAULT", || passes(no_memory()))
        .case(
            "entries half in no memory: EFAULT, nothing made",
            move || passes(half_mapped(transport)),
        )
        .case("entries that cannot be written: EFAULT", || {
            passes(read_only())
        })
        .case(
            "entries that change meanwhile are called as checked",
            || passes(changing_entries()),
        )
        .case("a batch of a 32-bit caller", thirty_two_bit_caller)
        .case("batches of the SDK", || passes(typed()));
    match kernel {
        Kernel::Stock => suite.case(
            "a call in a batch costs a fraction of one alone",
            move || passes(cost(transport, host_processors)),
        ),
        // Its checks cost more than calls do.
        Kernel::Debug => suite,
    }
}

/// Makes the request on entries of the caller's.
fn request(raw: &RawDevice, entries: &mut [BatchEntry], flags: u64) -> rustix::io::Result<i64> {
    let address = entries.as_mut_ptr().expose_provenance();
    // SAFETY: the entries are borrowed exclusively.
    unsafe { request_at(raw, address, entries.len() as u32, flags as u32) }
}

/// Makes the request on entries anywhere; returns its result.
///
/// # Safety
///
/// The entries must be the caller's to have overwritten, or inaccessible.
unsafe fn request_at(
    raw: &RawDevice,
    entries: usize,
    count: u32,
    flags: u32,
) -> rustix::io::Result<i64> {
    let mut batch = BatchRequest {
        entries: entries as u64,
        count,
        flags,
        result: i64::MIN,
    };
    // SAFETY: the structure is ours; the caller vouches for the entries.
    let status = unsafe { raw.request(BATCH, (&raw mut batch).expose_provenance()) };
    status.map(|()| batch.result)
}

/// `count` entries of `ECHO` of their indexes.
fn echoes(count: usize) -> Vec<BatchEntry> {
    (0..count as u64)
        .map(|value| BatchEntry::new(ECHO, [value, 0, 0, 0]))
        .collect()
}

/// Fails if `work` has the host receive a call; `COUNT` itself is one.
fn without_calls(transport: Transport, work: impl FnOnce() -> Check) -> Check {
    let device = Device::open()?;
    let count = || device.hcall1(COUNT, transport.raw().into());
    let before = count()?;
    work()?;
    equal("calls at the host", count()? - before, 1)
}

fn every_answer() -> Check {
    let raw = RawDevice::open()?;
    for count in [1, 2, 63, 64, 65, MOST] {
        let mut sequence = ArgumentSequence::new(count as u64);
        let mut entries: Vec<BatchEntry> = (0..count)
            .map(|_| BatchEntry::new(MIX[4], sequence.next_arguments(4)))
            .collect();
        let answered = request(&raw, &mut entries, 0);
        equal(format_args!("{count} calls"), answered, Ok(count as i64))?;
        for entry in &entries {
            let due = mix(4, entry.arguments) as i64;
            equal(format_args!("{:x?}", entry.arguments), entry.result, due)?;
        }
    }
    Ok(())
}

fn errors() -> Check {
    let raw = RawDevice::open()?;
    let mut entries = vec![
        BatchEntry::new(FAIL, [14, 0, 0, 0]),
        BatchEntry::new(UNREGISTERED, [0; 4]),
        BatchEntry::new(ECHO, [1 << 63, 0, 0, 0]),
        BatchEntry::new(ECHO, [5, 0, 0, 0]),
    ];
    equal("answered", request(&raw, &mut entries, 0), Ok(4))?;
    let results: Vec<i64> = entries.iter().map(|entry| entry.result).collect();
    equal("results", results, vec![-14, -38, -34, 5])
}

fn stops() -> Check {
    const BEFORE: i64 = 0x5a5a;
    let raw = RawDevice::open()?;
    for place in [0, 1, 31, 63] {
        let mut entries = echoes(64);
        for entry in &mut entries {
            entry.result = BEFORE;
        }
        entries[place] = BatchEntry::new(FAIL, [5, 0, 0, 0]);
        let answered = request(&raw, &mut entries, STOP_ON_ERROR);
        equal("answered", answered, Ok(place as i64 + 1))?;
        for (index, entry) in entries.iter().enumerate() {
            let due = match index {
                _ if index < place => index as i64,
                _ if index == place => -5,
                _ => BEFORE,
            };
            equal(format_args!("result {index}"), entry.result, due)?;
        }
    }
    Ok(())
}

fn only_results() -> Check {
    let raw = RawDevice::open()?;
    let mut entries = echoes(MOST);
    let before = entries.clone();
    request(&raw, &mut entries, 0)?;
    for (before, after) in before.iter().zip(&entries) {
        let result = after.result;
        equal("entry", *after, BatchEntry { result, ..*before })?;
    }
    Ok(())
}

fn counts(transport: Transport) -> Check {
    let raw = RawDevice::open()?;
    equal("no calls", request(&raw, &mut [], 0), Ok(0))?;
    without_calls(transport, || {
        for count in [MOST + 1, MOST * 2] {
            let status = request(&raw, &mut echoes(count), 0);
            equal(format_args!("{count}"), status, Err(Errno::INVAL))?;
        }
        for count in [1 << 26, 1 << 31, u32::MAX] {
            // SAFETY: the address is null.
            let status = unsafe { request_at(&raw, 0, count, 0) };
            equal(format_args!("{count}"), status, Err(Errno::INVAL))?;
        }
        Ok(())
    })
}

fn reserved_bits(transport: Transport) -> Check {
    let raw = RawDevice::open()?;
    without_calls(transport, || {
        for bit in 1..u32::BITS {
            let status = request(&raw, &mut echoes(2), 1 << bit);
            equal(format_args!("flag {bit}"), status, Err(Errno::INVAL))?;
            let mut entries = echoes(3);
            entries[2].flags = 1 << bit;
            let status = request(&raw, &mut entries, 0);
            equal(
                format_args!("entry's flag {bit}"),
                status,
                Err(Errno::INVAL),
            )?;
        }
        for word in 0..2 {
            for bit in [0, 31, 32, 63] {
                let mut entries = echoes(3);
                entries[1].reserved[word] = 1 << bit;
                let status = request(&raw, &mut entries, 0);
                equal(format_args!("reserved {word}"), status, Err(Errno::INVAL))?;
            }
        }
        Ok(())
    })
}

fn forbidden_numbers(transport: Transport) -> Check {
    let raw = RawDevice::open()?;
    let mut tried = 0;
    without_calls(transport, || {
        for number in [
            0,
            5,
            12,
            17,
            HYPERV_BIT,
            u32::MAX,
            TIME.get(),
            RANDOM.get(),
            number::BATCH.get(),
            RING_SETUP.get(),
        ] {
            for place in [0, 32, 63] {
                let mut entries = echoes(64);
                entries[place].number = number;
                let before = entries.clone();
                let status = request(&raw, &mut entries, 0);
                equal(
                    format_args!("{number:#x} at {place}"),
                    status,
                    Err(Errno::PERM),
                )?;
                equal("entries are as they were", entries == before, true)?;
                tried += 1;
            }
        }
        Ok(())
    })?;
    equal("refusals in fdinfo", fdinfo::refused(&raw)?, tried)
}

fn no_memory() -> Check {
    let raw = RawDevice::open()?;
    for address in NOT_MEMORY {
        // SAFETY: no memory of the process is there.
        let status = unsafe { raw.request(BATCH, address) };
        equal(
            format_args!("structure at {address:#x}"),
            status,
            refused(Errno::FAULT),
        )?;
        for count in [1, BATCH_MAX] {
            // SAFETY: as above.
            let status = unsafe { request_at(&raw, address, count, 0) };
            equal(
                format_args!("{count} entries at {address:#x}"),
                status,
                Err(Errno::FAULT),
            )?;
        }
    }
    Ok(())
}

fn half_mapped(transport: Transport) -> Check {
    let raw = RawDevice::open()?;
    let mut pages = Pages::new(2, Place::Anywhere)?;
    pages.protect(1, MprotectFlags::empty())?;
    without_calls(transport, || {
        for inside in [1, ENTRY - 1, ENTRY, ENTRY + 1, PAGE - 8] {
            let count = (inside / ENTRY + 1) as u32;
            let address = pages.address(PAGE - inside);
            // SAFETY: what is accessible of the entries is in a page of our own.
            let status = unsafe { request_at(&raw, address, count, 0) };
            equal(
                format_args!("{inside} bytes of {count} entries"),
                status,
                Err(Errno::FAULT),
            )?;
        }
        Ok(())
    })
}

fn read_only() -> Check {
    let raw = RawDevice::open()?;
    let mut pages = Pages::new(1, Place::Anywhere)?;
    for (place, entry) in pages.bytes().chunks_exact_mut(ENTRY).zip(echoes(8)) {
        place.copy_from_slice(&entry.to_bytes());
    }
    pages.protect(0, MprotectFlags::READ)?;
    // SAFETY: the page is ours, and read-only.
    let status = unsafe { request_at(&raw, pages.address(0), 8, 0) };
    equal("8 entries", status, Err(Errno::FAULT))
}

/// Another thread turns the first entry, an allowed call, into a forbidden one and back, all
/// the time. Whatever the module saw, it called that.
fn changing_entries() -> Check {
    let raw = RawDevice::open()?;
    let mut pages = Pages::new(1, Place::Anywhere)?;
    // A page of the kernel's, were it to arrive; the host would write eight bytes there.
    let arguments = [1 << 20, 8, 0, 0];
    let entry = BatchEntry::new(MIX[2], arguments);
    for place in pages.bytes().chunks_exact_mut(ENTRY) {
        place.copy_from_slice(&entry.to_bytes());
    }
    let (address, count) = (pages.address(0), PAGE / ENTRY);
    // SAFETY: the page outlives the threads below, is aligned, and everything in it that
    // changes meanwhile, in this process, is this atomic.
    let number = unsafe { AtomicU32::from_ptr(pages.bytes().as_mut_ptr().cast()) };
    let done = AtomicBool::new(false);
    let outcomes = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                number.store(RANDOM.get(), Ordering::Relaxed);
                std::thread::yield_now();
                number.store(MIX[2].get(), Ordering::Relaxed);
                std::thread::yield_now();
            }
        });
        let outcomes = races(&raw, address, count);
        done.store(true, Ordering::Relaxed);
        outcomes
    });
    let (made, refused) = outcomes?;
    println!("# {made} batches were made, {refused} refused");
    let due = mix(2, arguments) as i64;
    for place in pages.bytes().chunks_exact(ENTRY) {
        let bytes = place.try_into().expect("an entry's bytes");
        equal("result", BatchEntry::from_bytes(bytes).result, due)?;
    }
    equal("batches of both kinds", made > 0 && refused > 0, true)
}

/// How many batches were made, and how many refused; fails on any other outcome.
fn races(raw: &RawDevice, address: usize, count: usize) -> Result<(usize, usize), Failure> {
    let (mut made, mut refused) = (0, 0);
    let start = Instant::now();
    // Until both were seen, for at most as long as it takes to be sure that they never are.
    while made + refused < RACES
        || ((made == 0 || refused == 0) && start.elapsed() < Duration::from_secs(10))
    {
        // SAFETY: the page is the caller's; results, which nobody reads meanwhile, are all
        // that is written.
        match unsafe { request_at(raw, address, count as u32, 0) } {
            Ok(answered) => {
                equal("answered", answered, count as i64)?;
                made += 1;
            }
            Err(Errno::PERM) => refused += 1,
            Err(other) => return Err(Failure::new(format!("BATCH: {other}"))),
        }
        // One processor: the other thread has its turn here.
        std::thread::yield_now();
    }
    Ok((made, refused))
}

fn thirty_two_bit_caller() -> CaseResult {
    match compat::is_disabled() {
        Ok(false) => passes(compat_batch()),
        Ok(true) => Ok(Verdict::Skip(
            "the kernel's command line turns 32-bit system calls off".to_owned(),
        )),
        Err(error) => Err(format!("/proc/cmdline: {error}")),
    }
}

fn compat_batch() -> Check {
    let device = RawDevice::open()?;
    let mut pages = Pages::new(2, Place::Low)?;
    let request = BatchRequest {
        entries: pages.address(PAGE) as u64,
        count: 3,
        ..BatchRequest::default()
    };
    let address = u32::try_from(pages.address(0))?;
    let place = pages.bytes().as_mut_ptr().cast::<BatchRequest>();
    // SAFETY: the page is large and aligned enough for the structure.
    unsafe { place.write(request) };
    for (place, entry) in pages.bytes()[PAGE..].chunks_exact_mut(ENTRY).zip(echoes(3)) {
        place.copy_from_slice(&entry.to_bytes());
    }
    // SAFETY: structure and entries are in memory of our own, and the command line does not
    // turn 32-bit system calls off.
    let status = unsafe { compat::ioctl(&device, BATCH, address) };
    equal("status", status, 0)?;
    // SAFETY: written above, and every bit pattern is a value.
    equal("result", unsafe { place.read() }.result, 3)?;
    for (index, place) in pages.bytes()[PAGE..]
        .chunks_exact(ENTRY)
        .take(3)
        .enumerate()
    {
        let bytes = place.try_into().expect("an entry's bytes");
        equal("result", BatchEntry::from_bytes(bytes).result, index as i64)?;
    }
    Ok(())
}

fn typed() -> Check {
    let device = Device::open()?;
    let mut memory = vec![BatchEntry::default(); MOST + 1];
    let mut batch = Batch::new(&mut memory);
    for (number, argument) in [(ECHO, 4), (FAIL, 13), (ECHO, 6)] {
        batch.push(number, &[argument])?;
    }
    equal("answered", device.batch(&mut batch, OnError::Stop)?, 2)?;
    let failed = CallError::Errno(HostErrno::EACCES);
    equal("second", batch.result(1), Some(Err(failed)))?;
    equal("third", batch.result(2), None)?;
    equal("answered", device.batch(&mut batch, OnError::Continue)?, 3)?;
    equal("third", batch.result(2), Some(Ok(6)))?;

    batch.push(RANDOM, &[0x1000, 8])?;
    let refusal = device.batch(&mut batch, OnError::Continue);
    equal("RANDOM", refusal, Err(DeviceError::BatchRefused))?;
    equal("answers after a refusal", batch.results().len(), 0)?;
    batch.clear();
    for _ in 0..=MOST {
        batch.push(ECHO, &[1])?;
    }
    let refusal = device.batch(&mut batch, OnError::Continue);
    equal(
        "too long",
        refusal,
        Err(DeviceError::BatchTooLong(MOST + 1)),
    )
}

/// How many times cheaper a call in a batch must be on a host with one processor: it may be
/// an interpreter, to which an exit is not much more than the rest.
const LEAST_GAIN: f64 = 10.0;

/// The median of rounds, each of which measures both; batches put together and read included.
fn cost(transport: Transport, host_processors: usize) -> Check {
    const NUMBER: HypercallNumber = ECHO;
    let device = Device::open()?;
    let mut memory = [BatchEntry::default(); BATCH_SIZE];
    let (mut alone, mut batched) = (Vec::new(), Vec::new());
    for _ in 0..BATCH_ROUNDS {
        let start = Instant::now();
        for value in 0..BATCH_SIZE as u64 {
            equal("ECHO", device.hcall1(NUMBER, value)?, value)?;
        }
        alone.push(start.elapsed());
        let start = Instant::now();
        let mut batch = Batch::new(&mut memory);
        for value in 0..BATCH_SIZE as u64 {
            batch.push(NUMBER, &[value])?;
        }
        device.batch(&mut batch, OnError::Continue)?;
        for (index, answer) in batch.results().enumerate() {
            equal("ECHO in a batch", answer, Ok(index as u64))?;
        }
        batched.push(start.elapsed());
    }
    let per_call = |mut rounds: Vec<Duration>| {
        rounds.sort_unstable();
        rounds[rounds.len() / 2].as_secs_f64() * 1e9 / BATCH_SIZE as f64
    };
    let (alone, batched) = (per_call(alone), per_call(batched));
    let gain = alone / batched;
    println!(
        "# process, {transport}: {alone:.0} ns a call alone, {batched:.0} ns in a batch of \
         {BATCH_SIZE}: 1/{gain:.1}"
    );
    let due = if host_processors >= 2 {
        batch_gain(transport)
    } else {
        LEAST_GAIN
    };
    if gain < due {
        return Err(Failure::new(format!("only {gain:.1} times cheaper")));
    }
    Ok(())
}
