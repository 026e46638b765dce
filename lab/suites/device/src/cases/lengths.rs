// SPDX-License-Identifier: MIT OR Apache-2.0
//! `CALL_BUFFER` with every length at an edge, in every direction, and in every kind of
//! memory that it could be pointed to.

use super::pattern;
use crate::failure::{equal, passes, Check, Failure};
use crate::memory::{Pages, Place, PAGE};
use crate::raw::{refused, RawDevice};
use hcall_guest::abi::ioctl::{CallBuffer, BUFFER_IN, BUFFER_MAX, BUFFER_OUT, CALL_BUFFER};
use hcall_ktap::Suite;
use hcall_lab_contract::{FILL, INVERT, SUM};
use rustix::io::Errno;
use rustix::mm::MprotectFlags;
use std::sync::atomic::{AtomicBool, Ordering};

const MOST: usize = BUFFER_MAX as usize;
/// The lengths; the last is one too many.
const LENGTHS: [usize; 9] = [0, 1, 4095, 4096, 4097, 8193, MOST - 1, MOST, MOST + 1];
/// Where buffers begin within a page.
const STARTS: [usize; 4] = [0, 1, PAGE - 1, PAGE / 2];
/// Pages that hold every one of them.
const ROOM: usize = MOST / PAGE + 3;
/// What memory holds before a call.
const BEFORE: u8 = 0xa5;
/// Calls while another thread takes the buffer away.
const RACES: usize = 400;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    In,
    Out,
    Both,
}

impl Way {
    const ALL: [(Self, &'static str, u32); 3] = [
        (Self::In, "in", BUFFER_IN),
        (Self::Out, "out", BUFFER_OUT),
        (Self::Both, "in and out", BUFFER_IN | BUFFER_OUT),
    ];
}

/// What a buffer can be pointed to, and what is due for a request that goes this way.
type Hostile = (&'static str, fn(Way) -> Check);

const HOSTILE: [Hostile; 6] = [
    ("in read-only pages", read_only),
    ("in pages without access", |way| {
        no_access(way, Hole::Protected)
    }),
    ("in pages that are not mapped", |way| {
        no_access(way, Hole::Unmapped)
    }),
    ("that ends in a page without access", |way| {
        ends_badly(way, Hole::Protected)
    }),
    ("that ends in a page that is not mapped", |way| {
        ends_badly(way, Hole::Unmapped)
    }),
    ("that overlaps the structure of the request", overlapping),
];

pub(super) fn add(mut suite: Suite<'_>) -> Suite<'_> {
    for length in LENGTHS {
        for (way, name, flags) in Way::ALL {
            let due = if length > MOST { "EINVAL" } else { "right" };
            suite = suite.case(
                format!("buffer of {length} bytes {name}: {due}"),
                move || passes(round_trip(way, flags, length)),
            );
        }
    }
    for (what, check) in HOSTILE {
        for (way, name, _) in Way::ALL {
            suite = suite.case(format!("buffer {what}, {name}"), move || passes(check(way)));
        }
    }
    for (way, name, flags) in Way::ALL {
        suite = suite.case(
            format!("buffer whose pages come and go during the call, {name}"),
            move || passes(vanishing(way, flags)),
        );
    }
    suite
        .case("buffer of one page: the host is lent no byte more", || {
            passes(rest_is_zero())
        })
        .case(
            "buffer of 64 KiB, a thousand times: nothing of the last call",
            || passes(nothing_stale()),
        )
}

/// The request for this way: what the host sums, fills with 1, or inverts.
fn request(way: Way, flags: u32, address: usize, length: usize) -> CallBuffer {
    let (number, arguments, gpa_index) = match way {
        Way::In => (SUM, [0; 4], 0),
        Way::Out => (FILL, [1, 0, 0, 0], 1),
        Way::Both => (INVERT, [0; 4], 0),
    };
    CallBuffer {
        number: number.get(),
        flags,
        arguments,
        result: i64::MIN,
        buffer: address as u64,
        length: length as u32,
        gpa_index,
    }
}

fn of(way: Way, address: usize, length: usize) -> CallBuffer {
    let flags = Way::ALL.iter().find(|(one, _, _)| *one == way);
    request(
        way,
        flags.map_or(0, |(_, _, flags)| *flags),
        address,
        length,
    )
}

/// What the host answers, and what is in the buffer afterwards.
fn due(way: Way, before: &[u8]) -> (i64, Vec<u8>) {
    let length = before.len() as i64;
    match way {
        Way::In => {
            let sum = before.iter().map(|byte| i64::from(*byte)).sum();
            (sum, before.to_vec())
        }
        Way::Out => (length, vec![1; before.len()]),
        Way::Both => (length, before.iter().map(|byte| !byte).collect()),
    }
}

fn make(raw: &RawDevice, call: &mut CallBuffer) -> rustix::io::Result<()> {
    // SAFETY: every buffer here is in pages of our own, or in no memory.
    unsafe { raw.call_buffer_at(call) }
}

fn round_trip(way: Way, flags: u32, length: usize) -> Check {
    let raw = RawDevice::open()?;
    let mut pages = Pages::new(ROOM, Place::Anywhere)?;
    for start in STARTS {
        pages.bytes().fill(BEFORE);
        let before = pattern(length);
        pages.bytes()[start..start + length].copy_from_slice(&before);
        let mut call = request(way, flags, pages.address(start), length);
        let status = make(&raw, &mut call);
        let (result, after) = due(way, &before);
        let found = &pages.bytes()[start..start + length];
        if length > MOST {
            equal("status", status, refused(Errno::INVAL))?;
            equal("as it was", found == before, true)?;
            continue;
        }
        equal(format_args!("status at {start}"), status, Ok(()))?;
        equal(format_args!("result at {start}"), call.result, result)?;
        equal(format_args!("bytes at {start}"), found == after, true)?;
        let around = pages.bytes();
        let untouched = around[..start].iter().chain(&around[start + length..]);
        let is_untouched = untouched.into_iter().all(|byte| *byte == BEFORE);
        equal(
            format_args!("around {start}, untouched"),
            is_untouched,
            true,
        )?;
    }
    Ok(())
}

/// Why there is no memory.
#[derive(Clone, Copy, Debug)]
enum Hole {
    Protected,
    Unmapped,
}

impl Hole {
    fn make(self, pages: &mut Pages, index: usize) -> rustix::io::Result<()> {
        match self {
            Self::Protected => pages.protect(index, MprotectFlags::empty()),
            Self::Unmapped => pages.unmap(index),
        }
    }
}

fn read_only(way: Way) -> Check {
    let raw = RawDevice::open()?;
    for length in [1, PAGE, 2 * PAGE] {
        let mut pages = Pages::new(3, Place::Anywhere)?;
        pages.bytes().fill(BEFORE);
        for index in 0..3 {
            pages.protect(index, MprotectFlags::READ)?;
        }
        let mut call = of(way, pages.address(PAGE / 2), length);
        let status = make(&raw, &mut call);
        let expected = match way {
            Way::In => Ok(()),
            Way::Out | Way::Both => refused(Errno::FAULT),
        };
        equal(format_args!("{length} bytes"), status, expected)?;
        if way == Way::In {
            equal("SUM", call.result, length as i64 * i64::from(BEFORE))?;
        } else {
            equal("the structure's result", call.result, i64::MIN)?;
        }
    }
    Ok(())
}

fn no_access(way: Way, hole: Hole) -> Check {
    let raw = RawDevice::open()?;
    let mut pages = Pages::new(3, Place::Anywhere)?;
    hole.make(&mut pages, 1)?;
    for length in [1, 8, PAGE] {
        let mut call = of(way, pages.address(PAGE), length);
        let status = make(&raw, &mut call);
        equal(
            format_args!("{length} bytes"),
            status,
            refused(Errno::FAULT),
        )?;
    }
    // Of nothing there is nothing to be copied.
    let mut call = of(way, pages.address(PAGE), 0);
    equal("0 bytes", make(&raw, &mut call), Ok(()))
}

fn ends_badly(way: Way, hole: Hole) -> Check {
    let raw = RawDevice::open()?;
    let last = ROOM - 1;
    let mut pages = Pages::new(ROOM, Place::Anywhere)?;
    pages.bytes().fill(BEFORE);
    hole.make(&mut pages, last)?;
    for length in [2, PAGE, PAGE + 1, MOST] {
        for beyond in [1, length.min(PAGE) / 2, length.min(PAGE)] {
            let start = last * PAGE + beyond - length;
            let mut call = of(way, pages.address(start), length);
            let status = make(&raw, &mut call);
            equal(
                format_args!("{length} bytes, {beyond} of them beyond"),
                status,
                refused(Errno::FAULT),
            )?;
            equal("the structure's result", call.result, i64::MIN)?;
        }
        // With nothing beyond it is right.
        let mut call = of(way, pages.address(last * PAGE - length), length);
        equal(
            format_args!("{length} bytes to the end"),
            make(&raw, &mut call),
            Ok(()),
        )?;
    }
    Ok(())
}

/// The structure lies in its own buffer: it is read before the buffer is written, and its
/// result is written last.
fn overlapping(way: Way) -> Check {
    let raw = RawDevice::open()?;
    let mut pages = Pages::new(2, Place::Anywhere)?;
    for (start, place) in [(0, 0), (64, 0), (0, 64), (PAGE - 32, PAGE - 16), (40, 0)] {
        pages.bytes().fill(0);
        let length = 200;
        let call = of(way, pages.address(start), length);
        let structure = pages.bytes()[place..].as_mut_ptr().cast::<CallBuffer>();
        // SAFETY: within the pages, of plain integers; the place need not be aligned.
        unsafe { structure.write_unaligned(call) };
        let before = pages.bytes()[start..start + length].to_vec();
        // SAFETY: structure and buffer are in pages of our own.
        unsafe { raw.request(CALL_BUFFER, pages.address(place))? };
        let (result, after) = due(way, &before);
        // SAFETY: as above; every bit pattern is a value.
        let found = unsafe {
            pages.bytes()[place..]
                .as_ptr()
                .cast::<CallBuffer>()
                .read_unaligned()
        };
        equal(
            format_args!("result, {start} and {place}"),
            found.result,
            result,
        )?;
        let result = place + std::mem::offset_of!(CallBuffer, result);
        for (index, byte) in after.iter().enumerate() {
            let is_result = (result..result + 8).contains(&(start + index));
            let found = pages.bytes()[start + index];
            if !is_result && found != *byte {
                return Err(Failure::new(format!(
                    "byte {index}: {found:#x}, due {byte:#x}"
                )));
            }
        }
    }
    Ok(())
}

/// Another thread unmaps the middle of the buffer and maps it again, all the time. The call
/// is made or it fails with EFAULT; what it was made with are bytes of ours.
fn vanishing(way: Way, flags: u32) -> Check {
    let raw = RawDevice::open()?;
    let pages = Pages::new(ROOM, Place::Anywhere)?;
    let done = AtomicBool::new(false);
    let length = 4 * PAGE;
    let mut counts = [0_usize; 2];
    let outcome = std::thread::scope(|scope| {
        let changing = scope.spawn(|| -> rustix::io::Result<()> {
            while !done.load(Ordering::Relaxed) {
                pages.replace(2)?;
                std::thread::yield_now();
                pages.replace_by_nothing(2)?;
                std::thread::yield_now();
            }
            Ok(())
        });
        let outcome = (0..RACES).try_for_each(|_| {
            let mut call = request(way, flags, pages.address(0), length);
            match make(&raw, &mut call) {
                Ok(()) => {
                    counts[0] += 1;
                    let sum_of_few = way == Way::In && call.result <= 255 * length as i64;
                    let is_right = call.result == length as i64 || sum_of_few;
                    equal(format_args!("result {}", call.result), is_right, true)?;
                }
                Err(Errno::FAULT) => counts[1] += 1,
                Err(other) => return Err(Failure::new(format!("CALL_BUFFER: {other}"))),
            }
            std::thread::yield_now();
            Ok(())
        });
        done.store(true, Ordering::Relaxed);
        let changed = changing.join();
        changed.map_err(|_| Failure::new("a thread panicked"))??;
        outcome
    });
    println!("# {} were made, {} failed", counts[0], counts[1]);
    outcome
}

/// `SUM` of a page whose buffer was shorter: what the host is lent beyond is zero. The host is
/// told the length, so it is asked for the sum of a buffer that was not copied in.
fn rest_is_zero() -> Check {
    let raw = RawDevice::open()?;
    let mut pages = Pages::new(ROOM, Place::Anywhere)?;
    pages.bytes().fill(0xff);
    for length in [1, PAGE - 1, PAGE + 1, MOST] {
        for _ in 0..32 {
            make(&raw, &mut of(Way::In, pages.address(0), length))?;
            let mut call = CallBuffer {
                flags: BUFFER_OUT,
                ..of(Way::In, pages.address(0), length)
            };
            make(&raw, &mut call)?;
            equal(format_args!("SUM of {length} bytes"), call.result, 0)?;
            let copied = &pages.bytes()[..length];
            equal(
                "zeros came back",
                copied.iter().all(|byte| *byte == 0),
                true,
            )?;
            pages.bytes().fill(0xff);
        }
    }
    Ok(())
}

fn nothing_stale() -> Check {
    let raw = RawDevice::open()?;
    let mut pages = Pages::new(ROOM, Place::Anywhere)?;
    for round in 0..1000_usize {
        let length = if round % 2 == 0 {
            MOST
        } else {
            1 + round * 61 % MOST
        };
        let byte = round as u8;
        pages.bytes()[..length].fill(byte);
        let mut call = of(Way::In, pages.address(0), length);
        make(&raw, &mut call)?;
        equal("SUM", call.result, length as i64 * i64::from(byte))?;
    }
    Ok(())
}
