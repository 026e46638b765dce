// SPDX-License-Identifier: MIT OR Apache-2.0
//! `CALL_BUFFER`: the bytes that were given, no others, and both ways only as asked.

use super::pattern;
use crate::failure::{equal, passes, Check, Failure};
use crate::memory::{Pages, Place, PAGE};
use crate::raw::{refused, RawDevice};
use hcall_guest::abi::ioctl::{CallBuffer, BUFFER_IN, BUFFER_MAX, BUFFER_OUT};
use hcall_guest::device::{Buffer, Device};
use hcall_guest::Errno as HostErrno;
use hcall_ktap::Suite;
use hcall_lab_contract::{FAIL, FILL, SUM};
use rustix::io::Errno;
use rustix::mm::MprotectFlags;

/// Lengths at the edges.
const LENGTHS: [usize; 6] = [0, 1, 2, 100, 4095, 4096];
/// What a buffer holds before a call.
const BEFORE: u8 = 0xa5;

pub(super) fn add(suite: Suite<'_>) -> Suite<'_> {
    suite
        .case("the host reads the bytes that were given", || {
            passes(host_reads())
        })
        .case(
            "the host's bytes arrive, and none beyond the length",
            || passes(host_writes()),
        )
        .case("in and out in one call", || passes(both_ways()))
        .case("buffers across pages", || passes(across_pages()))
        .case("without IN the host sees zeros", || passes(nothing_stale()))
        .case("without OUT nothing is copied back", || {
            passes(nothing_without_out())
        })
        .case("after a failed call nothing is copied back", || {
            passes(nothing_after_failure())
        })
        .case("the buffer at each place among the arguments", || {
            passes(each_place())
        })
        .case(
            "more than the longest buffer: EINVAL",
            || passes(too_long()),
        )
        .case("bad flags: EINVAL", || passes(bad_flags()))
        .case("a bad index for the GPA: EINVAL", || passes(bad_index()))
        .case("arguments where GPA and length belong: EINVAL", || {
            passes(occupied_arguments())
        })
        .case("buffers in no memory: EFAULT", || passes(no_memory()))
        .case("an out buffer that cannot be written: EFAULT", || {
            passes(read_only())
        })
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

fn host_reads() -> Check {
    let device = Device::open()?;
    for length in LENGTHS {
        let bytes = pattern(length);
        let answer = device.call_buffer(SUM, &[], Buffer::In(&bytes), &[])?;
        equal(format_args!("SUM of {length} bytes"), answer, sum(&bytes))?;
    }
    Ok(())
}

fn host_writes() -> Check {
    let device = Device::open()?;
    for length in LENGTHS {
        let mut bytes = [BEFORE; 2 * PAGE];
        let given = &mut bytes[..length];
        let answer = device.call_buffer(FILL, &[0x3c], Buffer::Out(given), &[])?;
        equal(
            format_args!("FILL of {length} bytes"),
            answer,
            length as u64,
        )?;
        ensure_all("in the buffer", &bytes[..length], 0x3c)?;
        ensure_all("behind it", &bytes[length..], BEFORE)?;
    }
    Ok(())
}

fn both_ways() -> Check {
    let device = Device::open()?;
    let mut bytes = pattern(1000);
    let due = bytes.clone();
    let answer = device.call_buffer(SUM, &[], Buffer::InOut(&mut bytes), &[])?;
    equal("SUM", answer, sum(&due))?;
    equal("the buffer is as it was", bytes == due, true)?;
    device.call_buffer(FILL, &[1], Buffer::InOut(&mut bytes), &[])?;
    ensure_all("after FILL", &bytes, 1)
}

fn across_pages() -> Check {
    let device = Device::open()?;
    let mut pages = Pages::new(3, Place::Anywhere)?;
    for start in [1, PAGE - 1, PAGE / 2, PAGE + 4095] {
        let bytes = &mut pages.bytes()[start..start + PAGE];
        bytes.copy_from_slice(&pattern(PAGE));
        let answer = device.call_buffer(SUM, &[], Buffer::In(bytes), &[])?;
        equal(format_args!("SUM at {start}"), answer, sum(bytes))?;
        device.call_buffer(FILL, &[9], Buffer::Out(bytes), &[])?;
        ensure_all("after FILL", bytes, 9)?;
    }
    Ok(())
}

fn nothing_stale() -> Check {
    let device = Device::open()?;
    for _ in 0..64 {
        let mut bytes = [0; PAGE];
        device.call_buffer(FILL, &[0xff], Buffer::Out(&mut bytes), &[])?;
        let answer = device.call_buffer(SUM, &[], Buffer::Out(&mut bytes), &[])?;
        equal("SUM of a buffer not copied in", answer, 0)?;
        ensure_all("copied back", &bytes, 0)?;
    }
    Ok(())
}

fn nothing_without_out() -> Check {
    let raw = RawDevice::open()?;
    let mut bytes = [BEFORE; 64];
    let mut call = fill(BUFFER_IN);
    raw.call_buffer(&mut call, &mut bytes)?;
    equal("result", call.result, 64)?;
    ensure_all("the buffer", &bytes, BEFORE)
}

fn nothing_after_failure() -> Check {
    let device = Device::open()?;
    let mut bytes = [BEFORE; 64];
    let failure = device.call_buffer(FAIL, &[5], Buffer::Out(&mut bytes), &[]);
    let errno = failure.err().and_then(|error| error.errno());
    equal("errno", errno, Some(HostErrno::EIO))?;
    ensure_all("the buffer", &bytes, BEFORE)
}

fn each_place() -> Check {
    let device = Device::open()?;
    let bytes = pattern(32);
    let first = device.call_buffer(SUM, &[], Buffer::In(&bytes), &[7, 8])?;
    equal("SUM(gpa, length, 7, 8)", first, sum(&bytes))?;
    let mut filled = [BEFORE; 32];
    device.call_buffer(FILL, &[2], Buffer::Out(&mut filled), &[8])?;
    ensure_all("FILL(2, gpa, length, 8)", &filled, 2)
}

fn too_long() -> Check {
    let raw = RawDevice::open()?;
    let mut bytes = vec![0; BUFFER_MAX as usize + 1];
    let status = raw.call_buffer(&mut fill(BUFFER_OUT), &mut bytes);
    equal("one byte more", status, refused(Errno::INVAL))?;
    for length in [0x8000_0000, u32::MAX] {
        let mut call = CallBuffer {
            length,
            ..fill(BUFFER_OUT)
        };
        // SAFETY: the address is null.
        let status = unsafe { raw.call_buffer_at(&mut call) };
        equal(
            format_args!("{length} bytes"),
            status,
            refused(Errno::INVAL),
        )?;
    }
    Ok(())
}

fn bad_flags() -> Check {
    let raw = RawDevice::open()?;
    let unknown = (2..u32::BITS).map(|bit| BUFFER_OUT | (1 << bit));
    for flags in unknown.chain([0, 1 << 2, u32::MAX]) {
        let status = raw.call_buffer(&mut fill(flags), &mut [0; 8]);
        equal(
            format_args!("flags {flags:#x}"),
            status,
            refused(Errno::INVAL),
        )?;
    }
    Ok(())
}

fn bad_index() -> Check {
    let raw = RawDevice::open()?;
    for gpa_index in [3, 4, 5, u32::MAX] {
        let mut call = CallBuffer {
            gpa_index,
            arguments: [0; 4],
            ..fill(BUFFER_OUT)
        };
        let status = raw.call_buffer(&mut call, &mut [0; 8]);
        equal(
            format_args!("index {gpa_index}"),
            status,
            refused(Errno::INVAL),
        )?;
    }
    Ok(())
}

fn occupied_arguments() -> Check {
    let raw = RawDevice::open()?;
    for gpa_index in 0..3 {
        for argument in [gpa_index, gpa_index + 1] {
            let mut call = CallBuffer {
                gpa_index: gpa_index as u32,
                arguments: [0; 4],
                ..fill(BUFFER_OUT)
            };
            call.arguments[argument] = 1;
            let status = raw.call_buffer(&mut call, &mut [0; 8]);
            let what = format_args!("argument {argument}, index {gpa_index}").to_string();
            equal(what, status, refused(Errno::INVAL))?;
        }
    }
    Ok(())
}

fn no_memory() -> Check {
    let raw = RawDevice::open()?;
    let mut pages = Pages::new(2, Place::Anywhere)?;
    pages.protect(1, MprotectFlags::empty())?;
    let addresses = [
        0,
        pages.address(PAGE),
        pages.address(PAGE - 7),
        usize::MAX - 100,
    ];
    for flags in [BUFFER_IN, BUFFER_OUT] {
        for address in addresses {
            let mut call = CallBuffer {
                buffer: address as u64,
                length: 8,
                ..fill(flags)
            };
            // SAFETY: what is accessible of the buffer is in a page of our own.
            let status = unsafe { raw.call_buffer_at(&mut call) };
            equal(
                format_args!("flags {flags}, {address:#x}"),
                status,
                refused(Errno::FAULT),
            )?;
        }
    }
    // Of an empty buffer there is nothing to copy, so the address does not matter.
    let mut empty = fill(BUFFER_IN | BUFFER_OUT);
    // SAFETY: the length is 0.
    unsafe { raw.call_buffer_at(&mut empty)? };
    equal("FILL of 0 bytes", empty.result, 0)
}

fn read_only() -> Check {
    let raw = RawDevice::open()?;
    let mut pages = Pages::new(1, Place::Anywhere)?;
    pages.bytes().fill(BEFORE);
    pages.protect(0, MprotectFlags::READ)?;
    let mut call = CallBuffer {
        buffer: pages.address(0) as u64,
        length: 8,
        ..fill(BUFFER_OUT)
    };
    // SAFETY: the page is ours, and read-only.
    let status = unsafe { raw.call_buffer_at(&mut call) };
    equal("FILL", status, refused(Errno::FAULT))?;
    call = CallBuffer {
        number: SUM.get(),
        gpa_index: 0,
        flags: BUFFER_IN,
        arguments: [0; 4],
        ..call
    };
    // SAFETY: as above.
    unsafe { raw.call_buffer_at(&mut call)? };
    equal("SUM", call.result, 8 * i64::from(BEFORE))
}

/// `FILL(1, gpa, length)`.
fn fill(flags: u32) -> CallBuffer {
    CallBuffer {
        number: FILL.get(),
        flags,
        arguments: [1, 0, 0, 0],
        gpa_index: 1,
        ..CallBuffer::default()
    }
}

fn ensure_all(place: &str, bytes: &[u8], due: u8) -> Check {
    match bytes.iter().position(|byte| *byte != due) {
        None => Ok(()),
        Some(index) => Err(Failure::new(format!(
            "{place}, byte {index} of {}: found {:#x}, due {due:#x}",
            bytes.len(),
            bytes[index]
        ))),
    }
}
