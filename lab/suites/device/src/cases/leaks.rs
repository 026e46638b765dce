// SPDX-License-Identifier: MIT OR Apache-2.0
//! Very many requests of a kind, and as much is in use after them as before.

use crate::failure::{equal, passes, Check, Failure};
use crate::kernel_memory::InUse;
use crate::raw::{refused, RawDevice};
use crate::raw_ring::{setup, Mapping, ENTRIES};
use hcall_guest::abi::batch::BatchEntry;
use hcall_guest::abi::ioctl::{
    Batch, Call, CallBuffer, Info, NumberRange, Restrict, BATCH, BUFFER_IN, BUFFER_MAX, BUFFER_OUT,
    CALL, INFO, RESTRICT,
};
use hcall_guest::abi::number::{ECHO, RANDOM};
use hcall_ktap::Suite;
use hcall_lab_contract::INVERT;
use rustix::io::Errno;

/// What is the same for all requests of a kind.
struct Bench {
    raw: RawDevice,
    bytes: Vec<u8>,
}

/// A kind of request: its name, one of how many are made, and one of it.
struct Kind {
    name: &'static str,
    rarity: u64,
    once: fn(&mut Bench) -> Check,
}

const fn kind(name: &'static str, rarity: u64, once: fn(&mut Bench) -> Check) -> Kind {
    Kind { name, rarity, once }
}

/// Those that wait for the host's threads or for all processors are rarer.
static KINDS: [Kind; 14] = [
    kind("INFO", 1, info),
    kind("CALL", 1, call),
    kind("CALL refused", 1, call_refused),
    kind("CALL in no memory", 1, call_nowhere),
    kind("CALL_BUFFER of 100 bytes", 1, |bench| buffer(bench, 100)),
    kind("CALL_BUFFER of 4097 bytes", 10, |bench| buffer(bench, 4097)),
    kind("CALL_BUFFER of 64 KiB", 10, |bench| {
        buffer(bench, BUFFER_MAX as usize)
    }),
    kind("CALL_BUFFER refused", 1, buffer_refused),
    kind("CALL_BUFFER that cannot be read", 1, |bench| {
        buffer_nowhere(bench, BUFFER_IN)
    }),
    kind("CALL_BUFFER that cannot be written", 10, |bench| {
        buffer_nowhere(bench, BUFFER_OUT)
    }),
    kind("BATCH of 256 calls", 10, batch),
    kind("BATCH refused", 1, batch_refused),
    kind("a file opened, restricted twice and closed", 500, restrict),
    kind("a ring set up, mapped and closed", 50, ring),
];

/// `calls` of each kind, or of some a part of it.
pub(crate) fn add(mut suite: Suite<'_>, calls: u64) -> Suite<'_> {
    for kind in &KINDS {
        let count = (calls / kind.rarity).max(20);
        suite = suite.case(
            format!("{count} x {}: nothing leaked", kind.name),
            move || passes(without_leak(kind, count)),
        );
    }
    suite
}

fn without_leak(kind: &Kind, count: u64) -> Check {
    let mut bench = Bench {
        raw: RawDevice::open()?,
        bytes: vec![0; BUFFER_MAX as usize],
    };
    // The first ones may leave something for the next.
    for _ in 0..10 {
        (kind.once)(&mut bench)?;
    }
    let before = InUse::now()?;
    for _ in 0..count {
        (kind.once)(&mut bench)?;
    }
    before.ensure_not_more()
}

fn info(bench: &mut Bench) -> Check {
    let mut info = Info::default();
    // SAFETY: the kernel writes the structure.
    unsafe {
        bench
            .raw
            .request(INFO, (&raw mut info).expose_provenance())?
    };
    Ok(())
}

fn one(number: u32) -> Call {
    Call {
        number,
        arguments: [7, 0, 0, 0],
        ..Call::default()
    }
}

fn call(bench: &mut Bench) -> Check {
    let mut call = one(ECHO.get());
    bench.raw.call(&mut call)?;
    equal("ECHO", call.result, 7)
}

fn call_refused(bench: &mut Bench) -> Check {
    equal("CALL", bench.raw.call(&mut one(0)), refused(Errno::PERM))
}

fn call_nowhere(bench: &mut Bench) -> Check {
    // SAFETY: no memory of the process is there.
    let status = unsafe { bench.raw.request(CALL, 8) };
    equal("CALL", status, refused(Errno::FAULT))
}

fn buffer_call(number: u32, flags: u32) -> CallBuffer {
    CallBuffer {
        number,
        flags,
        ..CallBuffer::default()
    }
}

fn buffer(bench: &mut Bench, length: usize) -> Check {
    let mut call = buffer_call(INVERT.get(), BUFFER_IN | BUFFER_OUT);
    bench
        .raw
        .call_buffer(&mut call, &mut bench.bytes[..length])?;
    equal("INVERT", call.result, length as i64)
}

fn buffer_refused(bench: &mut Bench) -> Check {
    let mut call = buffer_call(0, BUFFER_IN);
    let status = bench.raw.call_buffer(&mut call, &mut bench.bytes);
    equal("CALL_BUFFER", status, refused(Errno::PERM))
}

fn buffer_nowhere(bench: &mut Bench, flags: u32) -> Check {
    let mut call = CallBuffer {
        buffer: 8,
        length: BUFFER_MAX,
        ..buffer_call(INVERT.get(), flags)
    };
    // SAFETY: no memory of the process is there.
    let status = unsafe { bench.raw.call_buffer_at(&mut call) };
    equal("CALL_BUFFER", status, refused(Errno::FAULT))
}

fn of_entries(bench: &Bench, entries: &mut [BatchEntry]) -> Result<i64, Errno> {
    let mut batch = Batch {
        entries: entries.as_mut_ptr().expose_provenance() as u64,
        count: entries.len() as u32,
        ..Batch::default()
    };
    // SAFETY: structure and entries are ours.
    unsafe {
        bench
            .raw
            .request(BATCH, (&raw mut batch).expose_provenance())?
    };
    Ok(batch.result)
}

fn batch(bench: &mut Bench) -> Check {
    let mut entries = [BatchEntry::new(ECHO, [7, 0, 0, 0]); 256];
    equal("BATCH", of_entries(bench, &mut entries), Ok(256))
}

fn batch_refused(bench: &mut Bench) -> Check {
    let mut entries = [BatchEntry::new(ECHO, [7, 0, 0, 0]); 16];
    entries[15].number = RANDOM.get();
    equal("BATCH", of_entries(bench, &mut entries), Err(Errno::PERM))
}

fn restrict(_: &mut Bench) -> Check {
    let raw = RawDevice::open()?;
    let mut restrict = Restrict {
        count: 1,
        ..Restrict::default()
    };
    restrict.ranges[0] = NumberRange {
        first: ECHO.get(),
        last: ECHO.get(),
    };
    for _ in 0..2 {
        // SAFETY: the kernel only reads the structure.
        unsafe { raw.request(RESTRICT, (&raw mut restrict).expose_provenance())? };
    }
    Ok(())
}

fn ring(_: &mut Bench) -> Check {
    let raw = RawDevice::open()?;
    let mut ring = setup(ENTRIES);
    raw.ring_setup(&mut ring)?;
    if ring.result < 0 {
        return Err(Failure::new(format!("RING_SETUP gave {}", ring.result)));
    }
    Mapping::of(&raw, &ring)?;
    Ok(())
}
