// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rings: what set-up, mapping and the requests must refuse, and what a mapping is.

use crate::failure::{equal, passes, Check, Failure};
use crate::memory::{Pages, Place, PAGE};
use crate::module::try_unload;
use crate::raw::{refused, RawDevice};
use crate::raw_ring::{mapped_bytes, refuses, setup, Mapping, ENTRIES};
use hcall_guest::abi::ioctl::{ProcessRing, RING_KICK, RING_SETUP, RING_WAIT};
use hcall_guest::abi::ring_protocol::RingWord;
use hcall_guest::device::{Device, DeviceError, Ring};
use hcall_ktap::Suite;
use rustix::io::Errno;
use rustix::mm::{mprotect, mremap, MapFlags, MprotectFlags, MremapFlags, ProtFlags};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What `/proc/PID/smaps` says of a mapping that is shared memory with a device: not
/// inherited, not grown, not dumped, not to be made executable.
const DUE_FLAGS: [&str; 4] = ["io", "de", "dc", "dd"];
const MAY_EXECUTE: &str = "me";

const READ_WRITE: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

pub(super) fn add(suite: Suite<'_>) -> Suite<'_> {
    suite
        .case("ring: entries that no ring can have: EINVAL", || {
            passes(bad_entries())
        })
        .case("ring: flags and reserved fields: EINVAL", || {
            passes(bad_fields())
        })
        .case("ring: nothing works before it is set up: ENXIO", || {
            passes(before_set_up())
        })
        .case("ring: a second one for a file: EBUSY", || passes(second()))
        .case("ring: pointers to no memory: EFAULT", || {
            passes(bad_pointers())
        })
        .case("ring: mapped whole, shared, never executable", || {
            passes(bad_mappings())
        })
        .case(
            "ring: a mapping cannot grow, and stays where it is in fork",
            || passes(mapping_flags()),
        )
        .case("ring: two mappings are the same memory", || {
            passes(mapped_twice())
        })
        .case(
            "ring: a mapping keeps the module",
            || passes(keeps_module()),
        )
        .case("ring: RING_WAIT ends in time", || passes(wait_ends()))
        .case("ring: the SDK names what is wrong", || passes(sdk_errors()))
}

fn bad_entries() -> Check {
    let raw = RawDevice::open()?;
    let limit = Device::open()?.info().ring_entries;
    equal("the host offers rings", limit >= ENTRIES, true)?;
    for entries in [0, 3, 33, limit + 1, limit * 2, 1 << 31, u32::MAX] {
        equal(
            format_args!("{entries} entries"),
            raw.ring_setup(&mut setup(entries)),
            refused(Errno::INVAL),
        )?;
    }
    // None of that was a ring.
    raw.ring().map(drop)
}

fn bad_fields() -> Check {
    let raw = RawDevice::open()?;
    for bit in 0..u32::BITS {
        for (flags, reserved) in [(1 << bit, 0), (0, 1 << bit)] {
            let mut setup = ProcessRing {
                flags,
                reserved,
                ..setup(ENTRIES)
            };
            equal(
                format_args!("flags {flags:#x}, reserved {reserved:#x}"),
                raw.ring_setup(&mut setup),
                refused(Errno::INVAL),
            )?;
        }
    }
    raw.ring()?;
    // SAFETY: the request has no structure.
    let argument = unsafe { raw.request(RING_KICK, PAGE) };
    equal(
        "RING_KICK with an argument",
        argument,
        refused(Errno::INVAL),
    )?;
    let mut pages = Pages::new(1, Place::Anywhere)?;
    pages.bytes().fill(0xff);
    // SAFETY: the page is ours.
    let flags = unsafe { raw.request(RING_WAIT, pages.address(0)) };
    equal("RING_WAIT with flags", flags, refused(Errno::INVAL))
}

fn before_set_up() -> Check {
    let raw = RawDevice::open()?;
    equal("RING_KICK", raw.ring_kick(), refused(Errno::NXIO))?;
    equal("RING_WAIT", raw.ring_wait(0, 0), refused(Errno::NXIO))?;
    let mapping = Mapping::new(&raw, PAGE, READ_WRITE, MapFlags::SHARED, 0);
    refuses("mmap", mapping, Errno::NXIO)
}

fn second() -> Check {
    let raw = RawDevice::open()?;
    let first = raw.ring()?;
    let mut again = setup(ENTRIES);
    equal(
        "the second",
        raw.ring_setup(&mut again),
        refused(Errno::BUSY),
    )?;
    equal("its structure", again, setup(ENTRIES))?;
    Mapping::of(&raw, &first)?;
    // Another file has its own.
    RawDevice::open()?.ring().map(drop)
}

fn bad_pointers() -> Check {
    let raw = RawDevice::open()?;
    let addresses = [0, 8, 0x0000_8000_0000_0000, usize::MAX - 7];
    for address in addresses {
        // SAFETY: no memory of the process is there.
        let status = unsafe { raw.request(RING_SETUP, address) };
        let what = format!("RING_SETUP at {address:#x}");
        equal(what, status, refused(Errno::FAULT))?;
    }
    let mut pages = Pages::new(1, Place::Anywhere)?;
    let wanted = ENTRIES.to_ne_bytes();
    pages.bytes()[..wanted.len()].copy_from_slice(&wanted);
    pages.protect(0, MprotectFlags::READ)?;
    // SAFETY: the page is ours, and read-only.
    let status = unsafe { raw.request(RING_SETUP, pages.address(0)) };
    equal("RING_SETUP, not writable", status, refused(Errno::FAULT))?;
    // The kernel finds out when there is a ring already; it is the file's.
    equal(
        "after it",
        raw.ring_setup(&mut setup(ENTRIES)),
        refused(Errno::BUSY),
    )?;
    // SAFETY: no memory of the process is there.
    let status = unsafe { raw.request(RING_WAIT, 8) };
    equal("RING_WAIT", status, refused(Errno::FAULT))
}

fn bad_mappings() -> Check {
    let raw = RawDevice::open()?;
    let ring = raw.ring()?;
    equal("bytes", ring.bytes, mapped_bytes(ENTRIES)?)?;
    let bytes = ring.bytes as usize;
    let map = |length, access, flags, offset| Mapping::new(&raw, length, access, flags, offset);
    let shared = MapFlags::SHARED;
    for length in [PAGE, bytes - PAGE, bytes + PAGE, 1 << 30] {
        let mapping = map(length, READ_WRITE, shared, 0);
        refuses(&format!("{length} bytes"), mapping, Errno::INVAL)?;
    }
    for offset in [PAGE, bytes, 1 << 40] {
        let mapping = map(bytes, READ_WRITE, shared, offset as u64);
        refuses(&format!("offset {offset:#x}"), mapping, Errno::INVAL)?;
    }
    let private = map(bytes, READ_WRITE, MapFlags::PRIVATE, 0);
    refuses("MAP_PRIVATE", private, Errno::INVAL)?;
    for access in [ProtFlags::EXEC, READ_WRITE | ProtFlags::EXEC] {
        let mapping = map(bytes, access, shared, 0);
        refuses("PROT_EXEC", mapping, Errno::PERM)?;
    }
    let good = Mapping::of(&raw, &ring)?;
    let execute = MprotectFlags::READ | MprotectFlags::EXEC;
    // SAFETY: nothing refers to the mapping.
    let made_executable = unsafe { mprotect(good.start(), PAGE, execute) };
    equal("mprotect", made_executable, Err(Errno::ACCESS))
}

fn mapping_flags() -> Check {
    let raw = RawDevice::open()?;
    let ring = raw.ring()?;
    let mapping = Mapping::of(&raw, &ring)?;
    let bytes = ring.bytes as usize;
    // SAFETY: nothing refers to the mapping.
    let grown = unsafe { mremap(mapping.start(), bytes, 2 * bytes, MremapFlags::MAYMOVE) };
    equal("mremap", grown.err(), Some(Errno::FAULT))?;
    let flags = flags_of(mapping.start().addr())?;
    for due in DUE_FLAGS {
        equal(
            format_args!("{due} in {flags:?}"),
            flags.iter().any(|flag| flag == due),
            true,
        )?;
    }
    let may_execute = flags.iter().any(|flag| flag == MAY_EXECUTE);
    equal("may be made executable", may_execute, false)
}

/// The flags of the mapping at an address.
fn flags_of(address: usize) -> Result<Vec<String>, Failure> {
    let maps = std::fs::read_to_string("/proc/self/smaps")?;
    let start = format!("{address:08x}-");
    maps.lines()
        .skip_while(|line| !line.starts_with(&start))
        .find_map(|line| line.strip_prefix("VmFlags:"))
        .map(|flags| flags.split_whitespace().map(str::to_owned).collect())
        .ok_or_else(|| Failure::new(format!("/proc/self/smaps has no mapping at {start}")))
}

fn mapped_twice() -> Check {
    let raw = RawDevice::open()?;
    let ring = raw.ring()?;
    let first = Mapping::of(&raw, &ring)?;
    let second = Mapping::of(&raw, &ring)?;
    first.store(RingWord::CompletionHead, 0);
    first.store(RingWord::CompletionEvent, 7);
    equal("the word", second.load(RingWord::CompletionEvent), 7)?;
    drop(first);
    equal("after munmap", second.load(RingWord::CompletionEvent), 7)
}

fn keeps_module() -> Check {
    let raw = RawDevice::open()?;
    let ring = raw.ring()?;
    let mapping = Mapping::of(&raw, &ring)?;
    drop(raw);
    equal("delete_module", try_unload(), Err(Errno::AGAIN))?;
    // The ring lives on: the word is there, and the host still writes what it wants.
    mapping.store(RingWord::CompletionEvent, 9);
    equal("the word", mapping.load(RingWord::CompletionEvent), 9)
}

fn wait_ends() -> Check {
    let raw = RawDevice::open()?;
    let ring = raw.ring()?;
    let mapping = Mapping::of(&raw, &ring)?;
    let tail = mapping.load(RingWord::CompletionTail);
    let due = Duration::from_millis(20);
    let start = Instant::now();
    let status = raw.ring_wait(tail, due.as_nanos() as u64);
    equal("without completions", status, refused(Errno::TIMEDOUT))?;
    equal("it slept long enough", start.elapsed() >= due, true)?;
    equal("no time", raw.ring_wait(tail, 0), refused(Errno::TIMEDOUT))?;
    let other = raw.ring_wait(tail.wrapping_sub(1), u64::MAX);
    equal("another index than the tail", other, Ok(()))
}

fn sdk_errors() -> Check {
    let device = Arc::new(Device::open()?);
    let limit = device.info().ring_entries;
    let error = Ring::over(Arc::clone(&device), 48).err();
    let due = DeviceError::RingEntries { entries: 48, limit };
    equal("48 entries", error, Some(due))?;
    let mut ring = Ring::over(Arc::clone(&device), ENTRIES)?;
    let busy = DeviceError::Request {
        request: "RING_SETUP",
        errno: hcall_guest::Errno::EBUSY,
    };
    equal(
        "a second ring",
        Ring::over(device, ENTRIES).err(),
        Some(busy),
    )?;
    let nothing = ring.wait().err();
    equal("wait", nothing, Some(DeviceError::NothingOutstanding))
}
