// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command as a user meets it where there is no host: each mistake gives one line
//! and its status. What it does with a host is tested in the lab's guests.

use serde_json::Value;
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// A node that is on no machine.
const MISSING: &str = "/nonexistent/hcall";

fn hcall(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hcall"))
        .args(arguments)
        .output()
        .expect("the command can be run")
}

/// Asserts that the command failed with this status and one line that holds `message`.
#[track_caller]
fn assert_refused(arguments: &[&str], status: i32, message: &str) {
    let output = hcall(arguments);
    let error = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(status), "{error}");
    assert!(output.stdout.is_empty());
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.starts_with("hcall: "), "{error}");
    assert!(error.contains(message), "{error}");
}

/// The object that `--json` printed, with the status.
#[track_caller]
fn json(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = hcall(arguments);
    assert!(output.stderr.is_empty());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(text.lines().count(), 1, "{text}");
    let value = serde_json::from_str(&text).expect("JSON");
    (output.status.code(), value)
}

#[test]
fn a_missing_device_is_named_with_a_hint() {
    for command in [
        &["info"][..],
        &["call", "PROBE"],
        &["echo", "1"],
        &["log", "text"],
        &["batch", "/dev/null"],
        &["stats"],
        &["stats", "host"],
        &["bench"],
        &["restrict", "none", "--", "true"],
    ] {
        let arguments = [&["--device", MISSING], command].concat();
        assert_refused(&arguments, 1, "cannot open /nonexistent/hcall: ENOENT");
        assert_refused(&arguments, 1, "is the module hcall loaded?");
    }
}

#[test]
fn another_file_is_not_taken_for_the_device() {
    assert_refused(
        &["--device", "/dev/null", "info"],
        1,
        "/dev/null is not an hcall device",
    );
}

#[test]
fn numbers_that_cannot_be_called_are_refused_with_the_reason() {
    let refused = |number, message| assert_refused(&["call", number], 2, message);
    refused("5", "belongs to KVM");
    refused("0x20", "belongs to Xen");
    refused("0x80000000", "belongs to Hyper-V");
    refused(
        "0x100000000",
        "out of range: hypercall numbers have 32 bits",
    );
    refused("99999999999999999999999", "out of range");
    refused(
        "seven",
        "'seven' is neither a number nor a core call (PROBE,",
    );
}

#[test]
fn arguments_are_checked_before_the_device() {
    let refused = |arguments: &[&str], message| {
        assert_refused(&[&["call", "PROBE"], arguments].concat(), 2, message);
    };
    refused(&["1", "2", "3", "4", "5"], "5 arguments were given");
    refused(&["0xg"], "'0xg' is no number");
    refused(
        &["18446744073709551616"],
        "out of range: arguments have 64 bits",
    );
    assert_refused(&["echo", "many"], 2, "'many' is no number");
}

#[test]
fn files_of_calls_are_checked_before_the_device() {
    let refused = |text: &str, message| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hcall"))
            .args(["--device", MISSING, "batch", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command can be run");
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(text.as_bytes()).expect("it reads");
        drop(input);
        let output = child.wait_with_output().expect("it ends");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(message), "{error}");
    };
    refused(
        "ECHO 1\n\n# words\nECHO 2 x\n",
        "-, line 4: 'x' is no number",
    );
    refused("5", "-, line 1: hypercall number 0x5 belongs to KVM");
    refused("ECHO 1 2 3 4 5", "-, line 1: 5 arguments were given");
    let missing = ["batch", "/nonexistent/calls"];
    assert_refused(&missing, 1, "cannot read /nonexistent/calls");
}

#[test]
fn ranges_are_checked_before_the_device() {
    let refused = |ranges, message| {
        let arguments = ["--device", MISSING, "restrict", ranges, "--", "true"];
        assert_refused(&arguments, 2, message);
    };
    refused("", "'' is neither");
    refused("2-1", "the range 0x2-0x1 ends before it begins");
    refused("ECHO-", "'' is neither");
    refused("1,2,", "'' is neither");
    refused("0-0x100000000", "out of range");
    let many: Vec<String> = (0..17).map(|n| n.to_string()).collect();
    refused(&many.join(","), "17 ranges were given");
    assert_refused(&["restrict", "ECHO"], 2, "<COMMAND>");
}

/// No machine of a developer's or a builder's has the module.
#[test]
fn statistics_and_traces_that_are_not_there_are_missed_in_one_line() {
    for command in [
        &["stats", "guest"][..],
        &["stats", "enable"],
        &["stats", "disable"],
        &["stats", "reset"],
        &["trace"],
        &["trace", "--count", "1"],
    ] {
        let output = hcall(command);
        let error = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        let hints = ["mount -t ", "modprobe hcall", "only root may"];
        assert!(hints.iter().any(|hint| error.contains(hint)), "{error}");

        let (status, value) = json(&[command, &["--json"]].concat());
        assert_eq!(status, Some(1));
        assert_eq!(value["error"]["kind"], "unavailable");
    }
    assert_refused(&["stats", "everything"], 2, "'everything'");
    assert_refused(&["trace", "--count", "many"], 2, "'many'");
}

#[test]
fn other_mistakes_take_one_line_too() {
    assert_refused(
        &[],
        2,
        "a command is needed: info, call, echo, log, batch, stats, trace, bench or restrict",
    );
    assert_refused(&["frobnicate"], 2, "frobnicate");
    assert_refused(&["info", "--frobnicate"], 2, "--frobnicate");
    assert_refused(&["call"], 2, "<NUMBER>");
    assert_refused(&["log"], 2, "<TEXT>");
    assert_refused(&["bench", "--calls", "0"], 2, "'0'");
    assert_refused(&["bench", "--call", "exit"], 2, "'exit'");
    assert_refused(&["call", "PROBE", "-1"], 2, "'-1'");
}

#[test]
fn errors_are_json_where_json_was_asked_for() {
    let (status, value) = json(&["--json", "--device", MISSING, "info"]);
    assert_eq!(status, Some(1));
    assert_eq!(value["ok"], false);
    assert_eq!(value["error"]["kind"], "open");
    let message = value["error"]["message"].as_str().expect("a string");
    assert!(message.contains(MISSING), "{message}");

    let (status, value) = json(&["call", "5", "--json"]);
    assert_eq!(status, Some(2));
    assert_eq!(value["error"]["kind"], "usage");

    let (status, value) = json(&["frobnicate", "--json"]);
    assert_eq!(status, Some(2));
    assert_eq!(value["error"]["kind"], "usage");
}

#[test]
fn help_and_version_succeed() {
    let help = hcall(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).contains("Exit status: 0"));
    let version = hcall(&["--version"]);
    let expected = format!("hcall {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8_lossy(&version.stdout), expected);
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hcall"))
        .arg("--help")
        .stdin(Stdio::null())
        .stdout(closed_pipe())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command can be run");
    let status = child.wait().expect("the command ends");
    assert_eq!(status.code(), Some(0));
    let error = std::io::read_to_string(child.stderr.take().expect("a pipe")).expect("UTF-8");
    assert_eq!(error, "");
}

/// The writing end of a pipe whose reading end is closed.
fn closed_pipe() -> Stdio {
    let mut reader = Command::new("true")
        .stdin(Stdio::piped())
        .spawn()
        .expect("'true' can be run");
    let writer = reader.stdin.take().expect("a pipe");
    reader.wait().expect("'true' ends");
    writer.into()
}

#[test]
fn a_full_disk_is_an_error() {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let output = Command::new(env!("CARGO_BIN_EXE_hcall"))
        .arg("--help")
        .stdout(full)
        .output()
        .expect("the command can be run");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.starts_with("hcall: cannot write to standard output"),
        "{error}"
    );
}
