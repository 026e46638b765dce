// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files that are no plugins, and plugins whose descriptors are wrong: each is refused, and the
//! reason said in one line.

use crate::building::{build_c, load, place, try_load};
use crate::fake_vcpu::{call, host};
use hcall_vmm::extend::plugin::{DescriptorFault, ElfFault, PluginError, PluginFault};
use hcall_vmm::{Errno, HypercallNumber};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FIRST: HypercallNumber = HypercallNumber::user(0x300);

fn faulty(arguments: &[&str]) -> PathBuf {
    build_c("vmm-host/tests/plugin/faulty.c", arguments)
}

#[track_caller]
fn refusal(path: &Path) -> Refusal {
    let error = try_load(path).expect_err("it is refused");
    let text = error.to_string();
    let name = path.file_name().unwrap().to_string_lossy();
    assert!(text.contains(&*name), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    Refusal(error, text)
}

/// Why a plugin was refused, and how that reads.
struct Refusal(PluginError, String);

#[track_caller]
fn expect_elf(path: &Path, expected: ElfFault) {
    let Refusal(error, text) = refusal(path);
    assert!(
        matches!(error.fault(), PluginFault::Elf(fault) if *fault == expected),
        "{text}"
    );
}

#[track_caller]
fn expect_descriptor(arguments: &[&str], expected: &DescriptorFault) {
    let Refusal(error, text) = refusal(&faulty(arguments));
    assert!(
        matches!(error.fault(), PluginFault::Descriptor(fault) if fault == expected),
        "{arguments:?}: {text}"
    );
}

fn written(name: &str, content: &[u8]) -> PathBuf {
    let path = place(name);
    fs::write(&path, content).expect("the test's directory is writable");
    path
}

#[test]
fn files_that_are_no_shared_objects() {
    expect_elf(&written("empty", b""), ElfFault::NotElf);
    expect_elf(&written("text", b"#!/bin/sh\nexit 0\n"), ElfFault::NotElf);
    expect_elf(&written("cut", b"\x7fELF\x02\x01\x01"), ElfFault::Truncated);
    // A program that can be loaded anywhere, and what the compiler makes before it links.
    expect_elf(
        Path::new(env!("CARGO_BIN_EXE_hcall-vmm")),
        ElfFault::NotShared,
    );
    expect_elf(&faulty(&["-c"]), ElfFault::NotShared);
}

#[test]
fn directories_and_devices() {
    for path in [
        Path::new(env!("CARGO_TARGET_TMPDIR")),
        Path::new("/dev/null"),
    ] {
        let Refusal(error, text) = refusal(path);
        assert!(matches!(error.fault(), PluginFault::NotAFile), "{text}");
    }
}

#[test]
fn an_object_for_32_bits() {
    // What `-m32` would make, where the compiler has no 32-bit library to link with.
    let mut content = fs::read(faulty(&[])).unwrap();
    content[4] = 1;
    expect_elf(&written("class", &content), ElfFault::OtherMachine);
    if let Some(object) = build_for_32_bits() {
        expect_elf(&object, ElfFault::OtherMachine);
    }
}

/// None where the compiler has no code generator for 32 bits.
fn build_for_32_bits() -> Option<PathBuf> {
    let (object, source) = (place("object-32"), place("source-32").with_extension("c"));
    fs::write(&source, "int hcall_plugin;\n").expect("the test's directory is writable");
    let output = Command::new("cc")
        .args(["-m32", "-nostdlib", "-shared", "-fPIC", "-o"])
        .args([&object, &source])
        .output()
        .expect("there is a C compiler");
    output.status.success().then_some(object)
}

/// An object whose end was not written. The dynamic linker would map what is not there.
#[test]
fn every_truncated_object() {
    let content = fs::read(faulty(&[])).unwrap();
    let mut lengths: Vec<usize> = (0..content.len()).step_by(509).collect();
    // The section headers at the end, and what they describe, are not loaded.
    lengths.retain(|length| *length < content.len() / 2);
    for length in lengths {
        let path = written("truncated", &content[..length]);
        let Refusal(error, text) = refusal(&path);
        assert!(
            matches!(
                error.fault(),
                PluginFault::Elf(ElfFault::Truncated | ElfFault::NotElf)
            ),
            "{length} bytes: {text}"
        );
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn an_object_that_is_too_large() {
    let path = place("large");
    let file = fs::File::create(&path).unwrap();
    file.set_len((256 << 20) + 1).unwrap();
    let Refusal(error, text) = refusal(&path);
    assert!(matches!(error.fault(), PluginFault::TooLarge), "{text}");
    fs::remove_file(path).unwrap();
}

#[test]
fn an_object_that_is_no_plugin() {
    let Refusal(error, text) = refusal(&faulty(&["-DSYMBOL=another"]));
    assert!(matches!(error.fault(), PluginFault::NoDescriptor), "{text}");
    let Refusal(error, text) = refusal(&faulty(&["-DUNDEFINED"]));
    assert!(matches!(error.fault(), PluginFault::Link(_)), "{text}");
    assert!(text.contains("nobody_has_this"), "{text}");
}

#[test]
fn descriptors_that_are_wrong() {
    use DescriptorFault::{
        Duplicate, HandlerCount, HandlerSize, NoFunction, Null, Size, Text, Version,
    };
    let long = format!("-DNAME=\"{}\"", "n".repeat(64));
    for (argument, expected) in [
        ("-DABI_VERSION=0", Version(0)),
        ("-DABI_VERSION=2", Version(2)),
        ("-DSIZE=0", Size(0)),
        ("-DSIZE=55", Size(55)),
        ("-DSIZE=0x7fffffff", Size(0x7fff_ffff)),
        ("-DNAME=NULL", Null("name")),
        ("-DNAME=\"\"", Text("name")),
        (&long, Text("name")),
        ("-DNAME=\"\\xff\"", Text("name")),
        ("-DVERSION=NULL", Null("version")),
        ("-DHANDLERS=NULL", Null("handlers")),
        ("-DCOUNT=0", HandlerCount(0)),
        ("-DCOUNT=0xffffffff", HandlerCount(u32::MAX)),
        ("-DHANDLER_SIZE=0", HandlerSize(0)),
        ("-DHANDLER_SIZE=15", HandlerSize(15)),
        ("-DHANDLER_SIZE=20", HandlerSize(20)),
        ("-DHANDLER_SIZE=0x10000", HandlerSize(0x1_0000)),
        ("-DSECOND=FIRST", Duplicate(FIRST)),
        ("-DCALL=NULL", NoFunction(HypercallNumber::user(0x301))),
    ] {
        expect_descriptor(&[argument], &expected);
    }
    for number in ["5", "17", "0x80000000"] {
        let Refusal(error, text) = refusal(&faulty(&[&format!("-DSECOND={number}")]));
        let fault = error.fault();
        assert!(
            matches!(fault, PluginFault::Descriptor(DescriptorFault::Number(_))),
            "{text}"
        );
        assert!(text.contains("belongs to"), "{text}");
    }
    let Refusal(_, text) = refusal(&faulty(&["-DCALLERS=3"]));
    assert!(text.contains("`3` may call"), "{text}");
}

#[test]
fn a_plugin_whose_own_start_fails() {
    for (create, expected) in [("fail", Errno::ENOMEM), ("fail_oddly", Errno::EIO)] {
        let Refusal(error, text) = refusal(&faulty(&[&format!("-DCREATE={create}")]));
        assert!(
            matches!(error.fault(), PluginFault::Create(errno) if *errno == expected),
            "{text}"
        );
    }
}

/// A later version's structures, with fields that this host does not know.
#[test]
fn a_plugin_that_knows_more_is_taken() {
    let plugin = load(&faulty(&["-DSIZE=sizeof(struct grown)"]));
    assert_eq!(plugin.numbers().count(), 2);
    let (host, _memory) = host();
    plugin.register(host.hypercalls()).unwrap();
    assert_eq!(call(&host, FIRST.get(), [0; 4]), 9);
    assert_eq!(call(&host, FIRST.get() + 1, [0; 4]), 9);
}
