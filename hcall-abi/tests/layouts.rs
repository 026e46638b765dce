// SPDX-License-Identifier: MIT OR Apache-2.0
//! The bytes of structures in guest memory, and the composition of ioctl numbers.

use hcall_abi::ioctl::{self, Call, CallBuffer, Info};
use hcall_abi::layout::{Clock, GuestInfo, Stats, TimeValue};
use std::mem::{align_of, size_of};

#[test]
fn a_time_value_in_memory() {
    let time = TimeValue {
        seconds: 0x0807_0605_0403_0201,
        nanoseconds: 0x0c0b_0a09,
        reserved: 0,
    };
    let expected = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0, 0, 0];
    assert_eq!(time.to_bytes(), expected);
}

#[test]
fn reserved_bytes_are_zero_whatever_the_field_holds() {
    let time = TimeValue {
        reserved: u32::MAX,
        ..Default::default()
    };
    assert_eq!(time.to_bytes(), [0; 16]);
}

#[test]
fn guest_info_in_memory() {
    let info = GuestInfo {
        abi_version: 0x0403_0201,
        features: 0x0807_0605,
        vcpu: 0x0c0b_0a09,
        vcpu_count: 0x100f_0e0d,
        memory_bytes: 0x1817_1615_1413_1211,
        tsc_khz: 0x1c1b_1a19,
        transport: 0x201f_1e1d,
    };
    assert!(info.to_bytes().into_iter().eq(1..=32));
}

#[test]
fn stats_in_memory() {
    let eight_from = |first: u8| u64::from_le_bytes(std::array::from_fn(|n| first + n as u8));
    let stats = Stats {
        calls: eight_from(1),
        instruction: eight_from(9),
        carrier: eight_from(17),
        port: eight_from(25),
        unknown: eight_from(33),
        refused: eight_from(41),
        failed: eight_from(49),
        panicked: eight_from(57),
    };
    assert!(stats.to_bytes().into_iter().eq(1..=64));
}

#[test]
fn structures_without_content_are_all_zero() {
    assert_eq!(TimeValue::default().to_bytes(), [0; 16]);
    assert_eq!(GuestInfo::default().to_bytes(), [0; 32]);
    assert_eq!(Stats::default().to_bytes(), [0; 64]);
}

#[test]
fn clocks_come_back_and_others_are_none() {
    for clock in [Clock::Realtime, Clock::Monotonic] {
        assert_eq!(Clock::from_raw(clock.raw()), Some(clock));
    }
    for raw in [2, 3, 1 << 32, u64::MAX] {
        assert_eq!(Clock::from_raw(raw), None);
    }
}

/// As Linux' `_IOR` and `_IOWR` compose them on x86, worked out by hand.
#[test]
fn requests_are_composed_as_linux_does() {
    assert_eq!(ioctl::INFO, (2 << 30) | (64 << 16) | (0x48 << 8));
    assert_eq!(ioctl::CALL, (3 << 30) | (48 << 16) | (0x48 << 8) | 1);
    assert_eq!(ioctl::CALL_BUFFER, (3 << 30) | (64 << 16) | (0x48 << 8) | 2);
}

/// Sizes that are multiples of 8 and fields at their natural alignment are what makes the
/// layout the same for 32-bit processes, where `u64` need only be aligned to 4.
#[test]
fn ioctl_structures_need_no_translation_for_32_bit_processes() {
    assert_eq!(size_of::<Call>() % 8, 0);
    assert_eq!(size_of::<CallBuffer>() % 8, 0);
    assert_eq!(size_of::<Info>() % 8, 0);
    assert_eq!(align_of::<Info>(), 4);
}

#[test]
fn the_path_of_the_device_is_its_name_below_dev() {
    assert_eq!(ioctl::DEVICE_PATH, format!("/dev/{}", ioctl::DEVICE_NAME));
}
