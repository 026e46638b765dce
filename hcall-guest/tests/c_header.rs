// SPDX-License-Identifier: MIT OR Apache-2.0
//! `include/hcall.h` says what hcall-abi says: the machine's C compiler checks every
//! constant, size and offset of the header against the crate's.

use hcall_abi::batch::{BatchEntry, STOP_ON_ERROR};
use hcall_abi::convention::ARGUMENT_COUNT;
use hcall_abi::cpuid::Features;
use hcall_abi::ioctl::{self, Batch, Call, CallBuffer, Info, NumberRange, Restrict};
use hcall_abi::layout::Clock;
use hcall_abi::number::{self, CORE_CALLS};
use hcall_abi::result::KVM_ENOSYS_RESULT;
use hcall_abi::version::PROBE_RESULT;
use hcall_abi::{HypercallNumber, Transport, ABI_VERSION};
use hcall_c_header::{fact, layout, Fact, Header};

const HEADER: Header<'static> = Header {
    name: "hcall.h",
    text: include_str!("../include/hcall.h"),
    directory: concat!(env!("CARGO_MANIFEST_DIR"), "/include"),
    options: &["-D_POSIX_C_SOURCE=200809L"],
    rest: "int main(void) { return hcall_open() < 0; }\n",
};

/// What the header does not define: its guard, a function of a number, a path and a
/// letter that are compared as text, and core calls that are no business of a process.
const NO_INTEGERS: [&str; 4] = [
    "HCALL_H",
    "HCALL_USER(offset)",
    "HCALL_DEVICE_PATH",
    "HCALL_IOCTL_MAGIC",
];
/// A ring is set up by the kernel.
const NOT_FOR_C: [&str; 2] = ["RING_SETUP", "RING_TEARDOWN"];

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
        fact("HCALL_INSTRUCTION_NONE", ioctl::INSTRUCTION_NONE),
        fact("HCALL_INSTRUCTION_VMMCALL", ioctl::INSTRUCTION_VMMCALL),
        fact("HCALL_INSTRUCTION_VMCALL", ioctl::INSTRUCTION_VMCALL),
        fact("HCALL_FEATURE_CORE_CALLS", Features::CORE_CALLS.bits()),
        fact("HCALL_FEATURE_BATCH", Features::BATCH.bits()),
        fact("HCALL_FEATURE_RING", Features::RING.bits()),
        fact("HCALL_CLOCK_REALTIME", Clock::Realtime.raw()),
        fact("HCALL_CLOCK_MONOTONIC", Clock::Monotonic.raw()),
        fact("HCALL_BUFFER_IN", ioctl::BUFFER_IN),
        fact("HCALL_BUFFER_OUT", ioctl::BUFFER_OUT),
        fact("HCALL_BUFFER_MAX", ioctl::BUFFER_MAX),
        fact("HCALL_BATCH_STOP_ON_ERROR", STOP_ON_ERROR),
        fact("HCALL_BATCH_MAX", ioctl::BATCH_MAX),
        fact("HCALL_RANGES_MAX", ioctl::RANGES_MAX),
        fact("HCALL_IOCTL_INFO", ioctl::INFO),
        fact("HCALL_IOCTL_CALL", ioctl::CALL),
        fact("HCALL_IOCTL_CALL_BUFFER", ioctl::CALL_BUFFER),
        fact("HCALL_IOCTL_BATCH", ioctl::BATCH),
        fact("HCALL_IOCTL_RESTRICT", ioctl::RESTRICT),
    ];
    core_calls.chain(transports).chain(others).collect()
}

#[rustfmt::skip]
fn layouts() -> Vec<Fact> {
    [
        layout!("hcall_info", Info, abi_version, transport, transports_offered, features,
            cpuid_base, instruction, batch_entries, ring_entries, buffer_bytes, reserved),
        layout!("hcall_call", Call, number, flags, arguments, result),
        layout!("hcall_call_buffer", CallBuffer, number, flags, arguments, result, buffer,
            length, gpa_index),
        layout!("hcall_batch_entry", BatchEntry, number, flags, arguments, result, reserved),
        layout!("hcall_batch", Batch, entries, count, flags, result),
        layout!("hcall_number_range", NumberRange, first, last),
        layout!("hcall_restrict", Restrict, count, reserved, ranges),
    ]
    .concat()
}

fn others() -> Vec<Fact> {
    vec![
        fact("HCALL_USER(0x7fff)", HypercallNumber::user(0x7fff).get()),
        fact("HCALL_IOCTL_MAGIC", ioctl::IOCTL_MAGIC),
        fact("sizeof(HCALL_DEVICE_PATH) - 1", ioctl::DEVICE_PATH.len()),
        fact(
            "sizeof(((struct hcall_call *)0)->arguments) / sizeof(uint64_t)",
            ARGUMENT_COUNT,
        ),
    ]
}

fn facts() -> Vec<Fact> {
    [constants(), layouts(), others()].concat()
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
fn the_path_is_the_same() {
    let line = format!("#define HCALL_DEVICE_PATH \"{}\"", ioctl::DEVICE_PATH);
    assert!(HEADER.text.lines().any(|other| other == line), "{line}");
}

#[test]
fn no_constant_is_left_unchecked() {
    HEADER.expect_all_constants(&constants(), &NO_INTEGERS);
}
