// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes every core call that returns, and checks what comes back.
#![no_std]
#![no_main]

use hcall_guest::abi::cpuid::Features;
use hcall_guest::abi::layout::Clock;
use hcall_guest::abi::ABI_VERSION;
use hcall_guest::unikernel::{entry, guest_info, print, println, random, stats, time};
use hcall_guest::{core_calls, hcall1, hcall2, Errno, Gpa};
use hcall_lab_contract::{COUNT, FAIL, FILL, SUM, UNREGISTERED};

entry!(main);

fn main() {
    let host = hcall_guest::host().expect("an hcall host");
    assert_eq!(core_calls::probe(), Ok(ABI_VERSION));
    let features = Features::CORE_CALLS.union(Features::BATCH);
    assert_eq!(core_calls::features(), Ok(features));
    assert_eq!(host.advertisement.features, features);

    assert_eq!(core_calls::echo(0), Ok(0));
    assert_eq!(core_calls::echo(u64::MAX >> 1), Ok(u64::MAX >> 1));
    let too_large = core_calls::echo(1 << 63).expect_err("bit 63 cannot be answered");
    assert_eq!(too_large.errno(), Some(Errno::ERANGE));

    check_clocks();
    check_info(host.trap.transport().raw());
    check_random();
    check_handlers(host.trap.transport().raw());

    print!("one ");
    println!("line");
    for round in 0..200 {
        print!("{:04} ", round);
    }
    println!();
}

fn check_clocks() {
    let first = time(Clock::Monotonic).expect("the monotonic clock");
    let second = time(Clock::Monotonic).expect("the monotonic clock");
    assert!((second.seconds, second.nanoseconds) > (first.seconds, first.nanoseconds));
    assert!(second.nanoseconds < 1_000_000_000 && second.reserved == 0);
    // 2001-09-09: later than any machine without a clock would say, earlier than any run.
    let realtime = time(Clock::Realtime).expect("the real-time clock");
    assert!(realtime.seconds > 1_000_000_000);
    let khz = core_calls::tsc_khz().expect("the TSC's frequency");
    assert!((100_000..100_000_000).contains(&khz), "{khz} kHz");
}

fn check_info(transport: u32) {
    let info = guest_info().expect("GUEST_INFO");
    assert_eq!(info.abi_version, ABI_VERSION.get());
    assert_eq!((info.vcpu, info.vcpu_count), (0, 1));
    assert_eq!(info.memory_bytes, 256 << 20);
    assert_eq!(info.transport, transport);
}

fn check_random() {
    let mut bytes = [0; 5000];
    assert_eq!(random(&mut bytes), Ok(bytes.len()));
    let zeros = bytes.iter().filter(|byte| **byte == 0).count();
    assert!(zeros < bytes.len() / 16, "{zeros} zeros");
    assert_eq!(random(&mut []), Ok(0));
}

fn check_handlers(transport: u32) {
    let before = stats().expect("STATS");
    let unknown = hcall1(UNREGISTERED, 1).expect_err("nobody registered it");
    assert_eq!(unknown.errno(), Some(Errno::ENOSYS));
    for errno in [Errno::EPERM, Errno::EAGAIN, Errno::new(Errno::MAX).unwrap()] {
        let failed = hcall1(FAIL, errno.get().into()).expect_err("FAIL fails");
        assert_eq!(failed.errno(), Some(errno));
    }
    let after = stats().expect("STATS");
    assert_eq!(after.unknown - before.unknown, 1);
    assert_eq!(after.failed - before.failed, 3);
    assert_eq!(after.calls - before.calls, 5);
    assert_eq!(hcall1(COUNT, transport.into()), Ok(after.calls + 1));

    let mut buffer = [0u8; 300];
    let gpa = Gpa::new(buffer.as_mut_ptr().expose_provenance() as u64);
    assert_eq!(hcall_guest::hcall3(FILL, 7, gpa.get(), 300), Ok(300));
    assert_eq!(buffer, [7; 300]);
    assert_eq!(hcall2(SUM, gpa.get(), 300), Ok(2100));
}
