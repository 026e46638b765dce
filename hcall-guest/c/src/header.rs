// SPDX-License-Identifier: MIT OR Apache-2.0
//! `include/hcall_guest.h` says what hcall-abi and this library say: the machine's C compiler
//! checks every constant, size, offset and signature of the header.

use hcall_c_header::{fact, layout, Fact, Header};
use sdk::abi::batch::{BatchEntry, ENTRY_ALIGNMENT, STOP_ON_ERROR};
use sdk::abi::convention::ARGUMENT_COUNT;
use sdk::abi::cpuid::Features;
use sdk::abi::ioctl;
use sdk::abi::layout::{Clock, GuestInfo, Stats, TimeValue};
use sdk::abi::number::{self, CORE_CALLS};
use sdk::abi::result::KVM_ENOSYS_RESULT;
use sdk::abi::version::PROBE_RESULT;
use sdk::abi::{HypercallNumber, Transport, ABI_VERSION};

/// It needs no C library.
const HEADER: Header<'static> = Header {
    name: "hcall_guest.h",
    text: include_str!("../include/hcall_guest.h"),
    directory: concat!(env!("CARGO_MANIFEST_DIR"), "/include"),
    options: &["-ffreestanding", "-nostdlib"],
    rest: SIGNATURES,
};

/// Its guard, and a function of a number.
const NO_INTEGERS: [&str; 2] = ["HCALL_GUEST_H", "HCALL_USER(offset)"];
/// Rings are not offered in C.
const NOT_FOR_C: [&str; 2] = ["RING_SETUP", "RING_TEARDOWN"];

/// What the header declares, as C sees it.
const SIGNATURES: &str = "
    int64_t (*detect)(struct hcall_host *) = hcall_detect;
    int64_t (*call0)(uint32_t) = hcall0;
    int64_t (*call1)(uint32_t, uint64_t) = hcall1;
    int64_t (*call2)(uint32_t, uint64_t, uint64_t) = hcall2;
    int64_t (*call3)(uint32_t, uint64_t, uint64_t, uint64_t) = hcall3;
    int64_t (*call4)(uint32_t, uint64_t, uint64_t, uint64_t, uint64_t) = hcall4;
";

/// The same, as Rust sees it.
const _: () = {
    let _: unsafe extern "C" fn(*mut crate::HcallHost) -> i64 = crate::hcall_detect;
    let _: extern "C" fn(u32) -> i64 = crate::hcall0;
    let _: extern "C" fn(u32, u64) -> i64 = crate::hcall1;
    let _: extern "C" fn(u32, u64, u64) -> i64 = crate::hcall2;
    let _: extern "C" fn(u32, u64, u64, u64) -> i64 = crate::hcall3;
    let _: extern "C" fn(u32, u64, u64, u64, u64) -> i64 = crate::hcall4;
};

fn constants() -> Vec<Fact> {
    let core_calls = CORE_CALLS
        .iter()
        .filter(|(_, name)| !NOT_FOR_C.contains(name))
        .map(|(number, name)| fact(format!("HCALL_{name}"), number.get()));
    let transports = Transport::ALL.into_iter().map(|transport| {
        let name = transport.name().to_uppercase();
        fact(format!("HCALL_TRANSPORT_{name}"), transport.raw())
    });
    let others = [
        fact("HCALL_ABI_VERSION", ABI_VERSION.get()),
        fact("HCALL_CORE_FIRST", number::CORE_FIRST),
        fact("HCALL_CORE_LAST", number::CORE_LAST),
        fact("HCALL_USER_FIRST", number::USER_FIRST),
        fact("HCALL_USER_LAST", number::USER_LAST),
        fact("HCALL_RESULT_NOT_HCALL", KVM_ENOSYS_RESULT),
        fact("HCALL_PROBE_RESULT", PROBE_RESULT),
        fact("HCALL_NO_HOST", crate::HCALL_NO_HOST),
        fact("HCALL_VERSION", crate::HCALL_VERSION),
        fact("HCALL_NO_TRANSPORT", crate::HCALL_NO_TRANSPORT),
        fact("HCALL_VENDOR", crate::HCALL_VENDOR),
        fact("HCALL_PRIVILEGE", crate::HCALL_PRIVILEGE),
        fact("HCALL_FOREIGN_NUMBER", crate::HCALL_FOREIGN_NUMBER),
        fact("HCALL_UNAVAILABLE", crate::HCALL_UNAVAILABLE),
        fact("HCALL_MALFORMED", crate::HCALL_MALFORMED),
        fact("HCALL_INSTRUCTION_NONE", ioctl::INSTRUCTION_NONE),
        fact("HCALL_INSTRUCTION_VMMCALL", ioctl::INSTRUCTION_VMMCALL),
        fact("HCALL_INSTRUCTION_VMCALL", ioctl::INSTRUCTION_VMCALL),
        fact("HCALL_FEATURE_CORE_CALLS", Features::CORE_CALLS.bits()),
        fact("HCALL_FEATURE_BATCH", Features::BATCH.bits()),
        fact("HCALL_FEATURE_RING", Features::RING.bits()),
        fact("HCALL_CLOCK_REALTIME", Clock::Realtime.raw()),
        fact("HCALL_CLOCK_MONOTONIC", Clock::Monotonic.raw()),
        fact("HCALL_BATCH_STOP_ON_ERROR", STOP_ON_ERROR),
        fact("HCALL_BATCH_ALIGNMENT", ENTRY_ALIGNMENT),
    ];
    core_calls.chain(transports).chain(others).collect()
}

#[rustfmt::skip]
fn layouts() -> Vec<Fact> {
    [
        layout!("hcall_host", crate::HcallHost, abi_version, features, transport, transports_offered,
            instruction, cpuid_base, batch_entries, ring_entries, buffer_bytes, reserved),
        layout!("hcall_time_value", TimeValue, seconds, nanoseconds, reserved),
        layout!("hcall_guest_info", GuestInfo, abi_version, features, vcpu, vcpu_count,
            memory_bytes, tsc_khz, transport),
        layout!("hcall_stats", Stats, calls, instruction, carrier, port, unknown, refused,
            failed, panicked),
        layout!("hcall_batch_entry", BatchEntry, number, flags, arguments, result, reserved),
    ]
    .concat()
}

fn facts() -> Vec<Fact> {
    let others = vec![
        fact("HCALL_USER(0x7fff)", HypercallNumber::user(0x7fff).get()),
        fact(
            "sizeof(((struct hcall_batch_entry *)0)->arguments) / sizeof(uint64_t)",
            ARGUMENT_COUNT,
        ),
    ];
    [constants(), layouts(), others].concat()
}

#[test]
fn the_c_compiler_agrees_on_every_value() {
    HEADER.expect(&facts());
}

#[test]
fn the_c_compiler_sees_a_wrong_value() {
    HEADER.expect_wrong_values_to_be_seen(&facts());
}

#[test]
fn no_constant_is_left_unchecked() {
    HEADER.expect_all_constants(&constants(), &NO_INTEGERS);
}

#[test]
fn every_function_is_compared() {
    let declared = HEADER
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("int64_t ")?.strip_suffix(");"))
        .filter_map(|line| line.split_once('('));
    let names: Vec<&str> = declared.map(|(name, _)| name).collect();
    assert_eq!(names.len(), 6);
    for name in names {
        assert!(SIGNATURES.contains(&format!("= {name};")), "{name}");
    }
}

#[test]
fn no_answer_of_a_host_is_one_of_the_librarys() {
    use sdk::{CallError, DetectError, Errno, Error};
    // On this machine, at CPL 3, nothing is executed.
    let answers = [crate::hcall0(number::PROBE.get()), {
        // SAFETY: null asks for no description.
        unsafe { crate::hcall_detect(std::ptr::null_mut()) }
    }];
    for answer in answers {
        assert!(
            [crate::HCALL_NO_HOST, crate::HCALL_PRIVILEGE].contains(&answer),
            "{answer}"
        );
    }
    assert_eq!(crate::hcall0(12), crate::HCALL_FOREIGN_NUMBER);
    let cases = [
        (Ok(7), 7),
        (Ok(i64::MAX as u64), i64::MAX),
        (Err(Error::Call(CallError::Errno(Errno::ENOSYS))), -38),
        (Err(Error::Call(CallError::NotHcall)), KVM_ENOSYS_RESULT),
        (
            Err(Error::Call(CallError::Malformed(-5000))),
            crate::HCALL_MALFORMED,
        ),
        (
            Err(Error::Unavailable(DetectError::Vendor([0; 12]))),
            crate::HCALL_VENDOR,
        ),
        (Err(Error::ArgumentTooWide(1)), crate::HCALL_UNAVAILABLE),
    ];
    for (result, expected) in cases {
        assert_eq!(crate::answer(result), expected);
    }
}
