// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the module must refuse, with which errno, and that nothing of it reaches the host.

use crate::failure::{equal, passes, Check};
use crate::fdinfo;
use crate::memory::{Pages, Place, PAGE};
use crate::raw::{refused, RawDevice};
use hcall_guest::abi::ioctl::{
    self, Call, CallBuffer, Info, BUFFER_IN, BUFFER_OUT, CALL, CALL_BUFFER, INFO,
};
use hcall_guest::abi::number::{
    BATCH, CORE_CALLS, HYPERV_BIT, KVM_LAST, PROBE, RANDOM, RING_SETUP, TIME, XEN_NUMBERS,
};
use hcall_guest::abi::{HypercallNumber, Transport};
use hcall_guest::device::{Device, DeviceError};
use hcall_ktap::Suite;
use hcall_lab_contract::{COUNT, MIX};
use rustix::io::Errno;
use rustix::mm::MprotectFlags;
use std::mem::size_of;

/// Addresses at which no process has memory: null, the first page, the end of the user
/// half, non-canonical, the kernel half, the end.
pub(super) const NOT_MEMORY: [usize; 7] = [
    0,
    8,
    0x0000_7fff_ffff_fff8,
    0x0000_8000_0000_0000,
    0x8000_0000_0000_0000,
    0xffff_8880_0000_0000,
    usize::MAX - 7,
];

pub(super) fn add(suite: Suite<'_>, transport: Transport) -> Suite<'_> {
    suite
        .case(
            "numbers that cannot reach the host: EPERM, counted, not made",
            move || passes(never_usable(transport)),
        )
        .case("core calls with a GPA through CALL: EPERM", || {
            passes(raw_gpa())
        })
        .case("a GPA smuggled beside the buffer's: EPERM", || {
            passes(smuggled_gpa())
        })
        .case("the SDK names a refusal by policy as such", || {
            passes(sdk_refusal())
        })
        .case("flags of CALL: EINVAL", || passes(flags_of_call()))
        .case("unknown requests: ENOTTY", || passes(unknown_requests()))
        .case("pointers to no memory: EFAULT", || passes(bad_pointers()))
        .case("structures half in no memory: EFAULT", || {
            passes(half_mapped())
        })
        .case("a structure that cannot be written: EFAULT", || {
            passes(read_only())
        })
}

fn never_usable(transport: Transport) -> Check {
    let device = Device::open()?;
    let count = || device.hcall1(COUNT, transport.raw().into());
    let raw = RawDevice::open()?;
    let before = count()?;
    let high = [HYPERV_BIT, HYPERV_BIT | MIX[0].get(), u32::MAX];
    let numbers = (0..=KVM_LAST).chain(XEN_NUMBERS).chain(high);
    let mut tried = 0;
    for number in numbers {
        equal(
            format_args!("CALL {number:#x}"),
            raw.call(&mut call(number)),
            refused(Errno::PERM),
        )?;
        let mut buffer_call = buffer_call(number, 0);
        let status = raw.call_buffer(&mut buffer_call, &mut [0; 8]);
        equal(
            format_args!("CALL_BUFFER {number:#x}"),
            status,
            refused(Errno::PERM),
        )?;
        tried += 2;
    }
    equal("refusals in fdinfo", fdinfo::refused(&raw)?, tried)?;
    equal("calls at the host", count()? - before, 1)
}

fn raw_gpa() -> Check {
    let raw = RawDevice::open()?;
    for (number, name) in CORE_CALLS {
        if number.takes_gpa() {
            let status = raw.call(&mut call(number.get()));
            equal(name, status, refused(Errno::PERM))?;
        }
    }
    Ok(())
}

fn smuggled_gpa() -> Check {
    let raw = RawDevice::open()?;
    let mut bytes = [0; 64];
    for (number, index) in [
        (RANDOM, 1),
        (RANDOM, 2),
        (TIME, 0),
        (TIME, 2),
        (BATCH, 0),
        (RING_SETUP, 0),
    ] {
        let mut call = buffer_call(number.get(), index);
        if index == 2 {
            call.arguments[..2].copy_from_slice(&[0x1000, 64]);
        }
        let status = raw.call_buffer(&mut call, &mut bytes);
        equal(
            format_args!("{number} with the buffer at {index}"),
            status,
            refused(Errno::PERM),
        )?;
    }
    Ok(())
}

fn sdk_refusal() -> Check {
    let refusal = Device::open()?.hcall2(RANDOM, 0x1000, 8);
    equal("RANDOM", refusal, Err(DeviceError::Refused(RANDOM)))?;
    let number = HypercallNumber::new(0x3000)?;
    let answer = Device::open()?.hcall0(number);
    let errno = answer.err().and_then(|error| error.errno());
    equal(
        "a number that is merely unknown",
        errno,
        Some(hcall_guest::Errno::ENOSYS),
    )
}

fn flags_of_call() -> Check {
    let raw = RawDevice::open()?;
    for bit in 0..u32::BITS {
        let mut call = Call {
            flags: 1 << bit,
            ..call(MIX[0].get())
        };
        equal(
            format_args!("flag {bit}"),
            raw.call(&mut call),
            refused(Errno::INVAL),
        )?;
    }
    Ok(())
}

fn unknown_requests() -> Check {
    let raw = RawDevice::open()?;
    let mut pages = Pages::new(1, Place::Anywhere)?;
    let other_sequence = CALL + 0x10;
    let other_magic = CALL ^ 0x0100;
    let other_size = CALL + (8 << 16);
    let other_direction = INFO ^ (3 << 30);
    let requests = [
        0,
        u32::MAX,
        other_sequence,
        other_magic,
        other_size,
        other_direction,
        ioctl::INFO & 0xffff,
    ];
    pages.bytes().fill(0);
    for request in requests {
        // SAFETY: the page is ours and larger than what any of the requests names.
        let status = unsafe { raw.request(request, pages.address(0)) };
        equal(
            format_args!("request {request:#x}"),
            status,
            refused(Errno::NOTTY),
        )?;
    }
    Ok(())
}

fn bad_pointers() -> Check {
    let raw = RawDevice::open()?;
    for request in [INFO, CALL, CALL_BUFFER] {
        for address in NOT_MEMORY {
            // SAFETY: no memory of the process is there.
            let status = unsafe { raw.request(request, address) };
            equal(
                format_args!("request {request:#x} at {address:#x}"),
                status,
                refused(Errno::FAULT),
            )?;
        }
    }
    Ok(())
}

fn half_mapped() -> Check {
    let raw = RawDevice::open()?;
    let mut pages = Pages::new(2, Place::Anywhere)?;
    pages.protect(1, MprotectFlags::empty())?;
    let requests = [
        (INFO, size_of::<Info>()),
        (CALL, size_of::<Call>()),
        (CALL_BUFFER, size_of::<CallBuffer>()),
    ];
    for (request, size) in requests {
        for inside in [1, size / 2, size - 1] {
            // SAFETY: what is accessible of the structure is in a page of our own.
            let status = unsafe { raw.request(request, pages.address(PAGE - inside)) };
            equal(
                format_args!("request {request:#x}, {inside} bytes"),
                status,
                refused(Errno::FAULT),
            )?;
        }
    }
    Ok(())
}

fn read_only() -> Check {
    let raw = RawDevice::open()?;
    let mut pages = Pages::new(1, Place::Anywhere)?;
    let probe = PROBE.get().to_ne_bytes();
    pages.bytes()[..probe.len()].copy_from_slice(&probe);
    pages.protect(0, MprotectFlags::READ)?;
    for request in [INFO, CALL] {
        // SAFETY: the page is ours, and read-only.
        let status = unsafe { raw.request(request, pages.address(0)) };
        equal(
            format_args!("request {request:#x}"),
            status,
            refused(Errno::FAULT),
        )?;
    }
    Ok(())
}

fn call(number: u32) -> Call {
    Call {
        number,
        ..Call::default()
    }
}

fn buffer_call(number: u32, gpa_index: u32) -> CallBuffer {
    CallBuffer {
        number,
        flags: BUFFER_IN | BUFFER_OUT,
        gpa_index,
        ..CallBuffer::default()
    }
}
