// SPDX-License-Identifier: MIT OR Apache-2.0
//! The module's statistics: exact, bounded, root's.

use crate::counted::{if_counted, write, Counted, Counting, DIRECTORY};
use crate::failure::{equal, Check, Failure};
use hcall_guest::abi::batch::BatchEntry;
use hcall_guest::abi::number::{BATCH, ECHO, RANDOM};
use hcall_guest::batch::{Batch, OnError};
use hcall_guest::device::Device;
use hcall_guest::HypercallNumber;
use hcall_ktap::Suite;
use hcall_lab_contract::{MIX, SLOW, UNREGISTERED};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Numbers that have a row of their own, as the module's README says.
const ROWS: u16 = 128;
/// Numbers that nobody has registered.
const UNKNOWN_FIRST: u16 = 0x4000;
const FILES: [(&str, u32); 3] = [("enable", 0o600), ("reset", 0o200), ("statistics", 0o400)];

pub(super) fn add(suite: Suite<'_>) -> Suite<'_> {
    suite
        .case("statistics: the files are root's", || if_counted(files))
        .case("statistics: nobody gets at them", || if_counted(nobody))
        .case("statistics: off at first, and nothing is counted", || {
            if_counted(off)
        })
        .case("statistics: every call is counted, by number", || {
            if_counted(exact)
        })
        .case("statistics: failed calls are counted as errors", || {
            if_counted(errors)
        })
        .case("statistics: a batch counts as one call", || {
            if_counted(batch)
        })
        .case("statistics: a slow call is in its bucket", || {
            if_counted(slow)
        })
        .case("statistics: off again, they stay as they were", || {
            if_counted(off_again)
        })
        .case("statistics: reset forgets everything", || if_counted(reset))
        .case("statistics: refused calls are counted, on or off", || {
            if_counted(refused)
        })
        .case("statistics: no call of four threads is lost", || {
            if_counted(threads)
        })
        .case(
            "statistics: a bounded table, and a row for the rest",
            || if_counted(bounded),
        )
        .case("statistics: what makes no sense is refused", || {
            if_counted(nonsense)
        })
        .case(
            "statistics: switched, reset and read while threads call",
            || if_counted(races),
        )
}

fn files() -> Check {
    for (file, mode) in FILES {
        let metadata = std::fs::metadata(Path::new(DIRECTORY).join(file))?;
        equal(file, metadata.mode() & 0o7777, mode)?;
        equal(file, (metadata.uid(), metadata.gid()), (0, 0))?;
    }
    equal("files", std::fs::read_dir(DIRECTORY)?.count(), FILES.len())
}

fn nobody() -> Check {
    // Linux keeps credentials per thread; this one's change ends with it.
    std::thread::spawn(open_as_nobody)
        .join()
        .map_err(|_| Failure::new("the thread panicked"))?
}

fn open_as_nobody() -> Check {
    let (user, group) = (Uid::from_raw(65534), Gid::from_raw(65534));
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)?;
    for (file, mode) in FILES {
        let opened = OpenOptions::new()
            .read(mode & 0o400 != 0)
            .write(mode & 0o200 != 0)
            .open(Path::new(DIRECTORY).join(file));
        let kind = opened.map(drop).map_err(|error| error.kind());
        equal(file, kind, Err(ErrorKind::PermissionDenied))?;
    }
    Ok(())
}

fn off() -> Check {
    write("reset", "1")?;
    Device::open()?.hcall1(ECHO, 1)?;
    let counted = Counted::read()?;
    equal("enabled", &*counted.enabled, "0")?;
    equal("numbers", &counted.numbers, &format!("0 of {ROWS}"))?;
    equal("rows", counted.rows.len(), 1)?;
    equal("others", counted.row("others").calls, 0)
}

fn exact() -> Check {
    let device = Device::open()?;
    let counting = Counting::start()?;
    for (arity, number) in MIX.into_iter().enumerate() {
        for _ in 0..=arity * 10 {
            device.call(number, &[1, 2, 3, 4][..arity])?;
        }
    }
    let counted = Counted::read()?;
    drop(counting);
    equal("enabled", &*counted.enabled, "1")?;
    equal("numbers", &*counted.numbers, "5 of 128")?;
    for (arity, number) in MIX.into_iter().enumerate() {
        let row = counted.row(number);
        equal(number, row.calls, arity as u64 * 10 + 1)?;
        equal("in the histogram", row.in_histogram(), row.calls)?;
        equal("errors", row.errors, 0)?;
        within(row.nanoseconds, &row.latency)?;
    }
    Ok(())
}

/// The sum of all durations, between the least and the most that the histogram allows.
fn within(nanoseconds: u64, latency: &[(u32, u64)]) -> Check {
    let least: u64 = latency.iter().map(|(bucket, calls)| calls << bucket).sum();
    let fits = (least..2 * least).contains(&nanoseconds);
    equal(format_args!("{nanoseconds} ns in {latency:?}"), fits, true)
}

fn errors() -> Check {
    let device = Device::open()?;
    let _counting = Counting::start()?;
    for _ in 0..7 {
        equal("unknown", device.hcall0(UNREGISTERED).is_err(), true)?;
    }
    device.hcall1(ECHO, 1)?;
    equal("ERANGE", device.hcall1(ECHO, 1 << 63).is_err(), true)?;
    let counted = Counted::read()?;
    let calls_and_errors = |number| {
        let row = counted.row(number);
        (row.calls, row.errors)
    };
    equal("unknown", calls_and_errors(UNREGISTERED), (7, 7))?;
    equal("ECHO", calls_and_errors(ECHO), (2, 1))
}

fn batch() -> Check {
    let device = Device::open()?;
    let mut entries = [BatchEntry::default(); 20];
    let mut batch = Batch::new(&mut entries);
    for value in 0..20 {
        batch.push(ECHO, &[value])?;
    }
    let _counting = Counting::start()?;
    device.batch(&mut batch, OnError::Continue)?;
    let counted = Counted::read()?;
    equal("BATCH", counted.row(BATCH).calls, 1)?;
    equal("numbers", &*counted.numbers, "1 of 128")
}

fn slow() -> Check {
    const MILLISECONDS: u64 = 20;
    let device = Device::open()?;
    let _counting = Counting::start()?;
    device.hcall1(SLOW, MILLISECONDS)?;
    let row = Counted::read()?.row(SLOW);
    let [(bucket, 1)] = row.latency[..] else {
        return Err(Failure::new(format!("{row:?}")));
    };
    // 2^24 ns are 17 ms; how much longer it takes, the other machines' load decides.
    equal(format_args!("{row:?}"), bucket >= 24, true)?;
    within(row.nanoseconds, &row.latency)
}

fn off_again() -> Check {
    let device = Device::open()?;
    let _counting = Counting::start()?;
    device.hcall1(ECHO, 1)?;
    write("enable", "0")?;
    let before = Counted::read()?;
    device.hcall1(ECHO, 2)?;
    equal("all", Counted::read()?, before)?;
    write("enable", "1")?;
    device.hcall1(ECHO, 3)?;
    equal("ECHO", Counted::read()?.row(ECHO).calls, 2)
}

fn reset() -> Check {
    let device = Device::open()?;
    let _counting = Counting::start()?;
    device.hcall1(ECHO, 1)?;
    equal("RANDOM", device.hcall2(RANDOM, 0x1000, 8).is_err(), true)?;
    write("reset", "1")?;
    let counted = Counted::read()?;
    equal("numbers", &*counted.numbers, "0 of 128")?;
    equal("refused", counted.refused, 0)?;
    equal("enabled", &*counted.enabled, "1")?;
    device.hcall1(ECHO, 1)?;
    equal("ECHO", Counted::read()?.row(ECHO).calls, 1)
}

fn refused() -> Check {
    let device = Device::open()?;
    write("reset", "1")?;
    let refuse = || equal("RANDOM", device.hcall2(RANDOM, 0x1000, 8).is_err(), true);
    refuse()?;
    refuse()?;
    equal("refused", Counted::read()?.refused, 2)?;
    let _counting = Counting::start()?;
    refuse()?;
    let counted = Counted::read()?;
    equal("refused", counted.refused, 1)?;
    equal("RANDOM", counted.row(RANDOM).calls, 0)
}

/// Makes ECHO calls in four threads; how many.
fn call_in_threads(device: &Device, calls: u64) -> u64 {
    const THREADS: u64 = 4;
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                // What is missing, the statistics show.
                for value in 0..calls {
                    let _ = device.hcall1(ECHO, value);
                }
            });
        }
    });
    THREADS * calls
}

fn threads() -> Check {
    let device = Device::open()?;
    let _counting = Counting::start()?;
    let calls = call_in_threads(&device, 250);
    let row = Counted::read()?.row(ECHO);
    equal("calls", (row.calls, row.in_histogram()), (calls, calls))
}

fn bounded() -> Check {
    const MORE: u16 = 12;
    let device = Device::open()?;
    let _counting = Counting::start()?;
    for round in 0..2_u64 {
        for offset in 0..ROWS + MORE {
            let number = HypercallNumber::user(UNKNOWN_FIRST + offset);
            equal("unknown", device.hcall1(number, round).is_err(), true)?;
        }
    }
    let counted = Counted::read()?;
    equal("numbers", &*counted.numbers, "128 of 128")?;
    equal("rows", counted.rows.len(), usize::from(ROWS) + 1)?;
    for offset in 0..ROWS {
        let number = HypercallNumber::user(UNKNOWN_FIRST + offset);
        let row = counted.row(number);
        equal(number, (row.calls, row.errors), (2, 2))?;
    }
    let others = counted.row("others");
    let due = 2 * u64::from(MORE);
    equal("others", (others.calls, others.errors), (due, due))
}

fn nonsense() -> Check {
    for (file, text) in [
        ("enable", "2"),
        ("enable", "on"),
        ("enable", "-1"),
        ("reset", "0"),
        ("reset", "2"),
    ] {
        let errno = write(file, text).map_err(|error| error.raw_os_error());
        let due = Err(Some(Errno::INVAL.raw_os_error()));
        equal(format_args!("{text} into {file}"), errno, due)?;
    }
    equal("enabled", &*Counted::read()?.enabled, "0")
}

fn races() -> Check {
    const ROUNDS: usize = 20;
    let device = Device::open()?;
    let _counting = Counting::start()?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _ = device.hcall1(ECHO, 1);
                }
            });
        }
        let raced = switch_and_read(ROUNDS);
        done.store(true, Ordering::Relaxed);
        raced
    })?;
    write("enable", "1")?;
    write("reset", "1")?;
    let calls = call_in_threads(&device, 10);
    equal("ECHO", Counted::read()?.row(ECHO).calls, calls)
}

/// Whatever is read is in order in itself.
fn switch_and_read(rounds: usize) -> Check {
    for round in 0..rounds {
        write("enable", if round % 3 == 0 { "0" } else { "1" })?;
        let row = Counted::read()?.row(ECHO);
        equal("errors", row.errors, 0)?;
        if round % 4 == 0 {
            write("reset", "1")?;
        }
    }
    Ok(())
}
