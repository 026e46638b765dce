// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `hcall-vmm` with bad input: one clear line, a non-zero status, no panic.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Status of a command line that is wrong (clap's).
const STATUS_USAGE: i32 = 2;
/// Status when there was no VM to run.
const STATUS_VMM: i32 = hcall_vmm::cli::STATUS_VMM as i32;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hcall-vmm"))
        .args(arguments)
        .output()
        .expect("the command starts")
}

/// The command fails with `status` and says each of `parts` on standard error.
#[track_caller]
fn expect_failure(arguments: &[&str], status: i32, parts: &[&str]) {
    let output = run(arguments);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
    for part in parts {
        assert!(
            text.contains(part),
            "{arguments:?} should say '{part}': {text}"
        );
    }
    assert!(!text.contains("panicked at"), "{text}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    if status == STATUS_VMM {
        assert_eq!(text.lines().count(), 1, "one line: {text}");
    }
}

fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut file = std::fs::File::create(&path).expect("the test's directory is writable");
    file.write_all(content).expect("and has room");
    path
}

#[test]
fn wrong_command_lines() {
    expect_failure(&[], STATUS_USAGE, &["Usage"]);
    expect_failure(&["walk"], STATUS_USAGE, &["walk"]);
    expect_failure(&["run"], STATUS_USAGE, &["KERNEL"]);
    expect_failure(&["run", "a", "b"], STATUS_USAGE, &["'b'"]);
    expect_failure(
        &["run", "a", "--transport", "pigeon"],
        STATUS_USAGE,
        &["pigeon"],
    );
    expect_failure(&["probe", "--deadline", "0"], STATUS_USAGE, &["deadline"]);
}

#[test]
fn memory_sizes() {
    for size in ["0", "0M", "1", "1P", "1048577M", "18446744073709551615T"] {
        expect_failure(
            &["run", "x", "--memory", size],
            STATUS_USAGE,
            &["from 2M to 1T"],
        );
    }
    for size in ["", "M", "12Q", "-1", "1.5G", "lots"] {
        let argument = format!("--memory={size}");
        expect_failure(&["run", "x", &argument], STATUS_USAGE, &["memory"]);
    }
}

#[test]
fn vcpu_counts() {
    for count in ["0", "65", "256", "-1", "", "two"] {
        let argument = format!("--vcpus={count}");
        expect_failure(&["run", "x", &argument], STATUS_USAGE, &["from 1 to 64"]);
    }
}

#[test]
fn no_kvm() {
    let parts = ["/no/such/kvm", "no KVM"];
    expect_failure(&["probe", "--kvm", "/no/such/kvm"], STATUS_VMM, &parts);
    let not_kvm = file("not-kvm", b"");
    let not_kvm = not_kvm.to_str().expect("a path of ours");
    expect_failure(
        &["probe", "--kvm", not_kvm],
        STATUS_VMM,
        &[not_kvm, "not a usable KVM"],
    );
    expect_failure(&["probe", "--kvm", "/dev/null"], STATUS_VMM, &["/dev/null"]);
}

#[test]
fn files_that_are_no_guests() {
    expect_failure(
        &["run", "/no/such/file"],
        STATUS_VMM,
        &["/no/such/file", "No such file"],
    );
    expect_failure(&["run", "/"], STATUS_VMM, &["not a regular file"]);
    for (name, content) in [
        ("empty", &b""[..]),
        ("text", b"#!/bin/sh\n"),
        ("cut", b"\x7fEL"),
    ] {
        let path = file(name, content);
        let path = path.to_str().expect("a path of ours");
        let reason = "neither an ELF file nor a Linux bzImage";
        expect_failure(&["run", path], STATUS_VMM, &[path, reason]);
    }
    let cut = file("cut-elf", b"\x7fELF\x02\x01\x01");
    let cut = cut.to_str().expect("a path of ours");
    expect_failure(&["run", cut], STATUS_VMM, &[cut, "damaged"]);
    // A Multiboot header that requires a video mode.
    let header = [0x1bad_b002_u32, 4, 0_u32.wrapping_sub(0x1bad_b002 + 4)];
    let header: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
    let video = file("video", &header);
    let video = video.to_str().expect("a path of ours");
    expect_failure(
        &["run", video],
        STATUS_VMM,
        &[video, "requires a video mode"],
    );
    let qemu = ["-kernel", video, "-append", "x"];
    expect_failure(&qemu, STATUS_VMM, &[video, "requires a video mode"]);
    expect_failure(&["-kernel", video, "-hda", "x"], STATUS_USAGE, &["-hda"]);
    let no_guest = env!("CARGO_BIN_EXE_hcall-vmm");
    expect_failure(&["run", no_guest], STATUS_VMM, &["neither a PVH note"]);
}

#[test]
fn files_that_are_no_plugins() {
    let text = file("no-plugin.so", b"int main;");
    let text = text.to_str().expect("a path of ours");
    for (path, reason) in [
        ("/no/such/plugin", "No such file"),
        ("/", "not a regular file"),
        (text, "not an ELF file"),
        (env!("CARGO_BIN_EXE_hcall-vmm"), "no shared object"),
    ] {
        let arguments = ["run", "/no/such/kernel", "--plugin", path];
        expect_failure(&arguments, STATUS_VMM, &["plugin", path, reason]);
    }
}

#[test]
fn command_line_too_long_for_a_guest() {
    let text = "x".repeat(2048);
    let arguments = ["run", env!("CARGO_BIN_EXE_hcall-vmm"), "--append", &text];
    expect_failure(
        &arguments,
        STATUS_VMM,
        &["command line is longer than 2047 bytes"],
    );
}

#[test]
fn handlers_that_cannot_be_had() {
    for (handler, part) in [
        ("0x48438001", "no NUMBER=SOURCE"),
        ("one=value:1", "'one' is no hypercall's number"),
        ("12=value:1", "12"),
        ("0x48438001=pigeon:home", "unix:PATH"),
        ("0x48438001=unix:", "no path"),
    ] {
        expect_failure(&["run", "x", "--handler", handler], STATUS_USAGE, &[part]);
    }
    for limit in ["0", "3600001", "-1", "soon"] {
        let argument = format!("--handler-timeout={limit}");
        expect_failure(&["run", "x", &argument], STATUS_USAGE, &["handler-timeout"]);
    }
    // Nothing is there; a file is there; a socket at which nobody listens.
    let file = file("no-socket", b"");
    let left = file.with_file_name("left-behind");
    let _ = std::fs::remove_file(&left);
    drop(std::os::unix::net::UnixListener::bind(&left).expect("a socket"));
    for path in [Path::new("/no/such/socket"), &file, &left] {
        let handler = format!("0x48438001=unix:{}", path.display());
        let parts = [
            "--handler 0x48438001=unix:",
            "cannot connect to",
            path.to_str().expect("a path of ours"),
            "is the handler's process running?",
        ];
        expect_failure(&["run", "x", "--handler", &handler], STATUS_VMM, &parts);
    }
}
