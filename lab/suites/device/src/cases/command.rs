// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `hcall`.

use crate::failure::{equal, passes, Check, Failure};
use hcall_guest::abi::number::{ECHO, PROBE, RANDOM};
use hcall_guest::abi::version::PROBE_RESULT;
use hcall_guest::abi::Transport;
use hcall_ktap::{CaseResult, Suite, Verdict};
use hcall_lab_contract::{mix, MIX, UNREGISTERED};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

pub(super) const HCALL: &str = "/bin/hcall";

pub(super) fn add(suite: Suite<'_>, transport: Transport) -> Suite<'_> {
    suite
        .case("hcall info", move || if_present(|| info(transport)))
        .case("hcall call", || if_present(call))
        .case("hcall call that fails", || if_present(failing_call))
        .case("hcall echo", || if_present(echo))
        .case("hcall log", || if_present(log))
        .case("hcall batch", || if_present(batch))
        .case("hcall restrict", || if_present(restrict))
}

pub(super) fn if_present(check: impl FnOnce() -> Check) -> CaseResult {
    if Path::new(HCALL).exists() {
        passes(check())
    } else {
        Ok(Verdict::Skip(format!("{HCALL} is not in this image")))
    }
}

fn info(transport: Transport) -> Check {
    let value = json(&["info", "--json"])?;
    equal("ok", &value["ok"], &Value::Bool(true))?;
    equal(
        "transport",
        value["transport"].as_str(),
        Some(transport.name()),
    )?;
    let text = succeed(&["info"])?;
    let line = format!("transport    {transport}");
    equal(
        &text,
        text.lines().any(|found| found.starts_with(&line)),
        true,
    )
}

fn call() -> Check {
    let due = |payload| format!("{payload} ({payload:#x})\n");
    equal("PROBE", succeed(&["call", "PROBE"])?, due(PROBE_RESULT))?;
    let number = MIX[4].to_string();
    let text = succeed(&["call", &number, "1", "0x2", "3", "0xffffffffffffffff"])?;
    equal("MIX4", text, due(mix(4, [1, 2, 3, u64::MAX])))?;
    let value = json(&["--json", "call", &MIX[1].get().to_string(), "9"])?;
    equal("MIX1", value["result"].as_u64(), Some(mix(1, [9, 0, 0, 0])))
}

fn failing_call() -> Check {
    let number = UNREGISTERED.to_string();
    let unknown = "hcall: the host answered ENOSYS: not implemented\n";
    equal("unknown", fail(&["call", &number], 1)?, unknown.to_owned())?;
    let value = json(&["call", &number, "--json"])?;
    equal("name", value["error"]["name"].as_str(), Some("ENOSYS"))?;

    let refusal = fail(&["call", "RANDOM", "0x1000", "8"], 1)?;
    let start = format!("hcall: the hcall module refused call {RANDOM}");
    equal(&refusal, refusal.starts_with(&start), true)?;
    let kvm = fail(&["call", "5"], 2)?;
    equal(&kvm, kvm.contains("belongs to KVM"), true)
}

fn echo() -> Check {
    equal("echo 7", succeed(&["echo", "7"])?, "7 (0x7)\n".to_owned())?;
    let refusal = fail(&["echo", "0x8000000000000000"], 1)?;
    equal(&refusal, refusal.contains("ERANGE"), true)
}

fn log() -> Check {
    equal(
        "log",
        succeed(&["log", "#", "hello from hcall log"])?,
        String::new(),
    )?;
    let value = json(&["log", "#", "hello", "--json"])?;
    equal(
        "written",
        value["written"].as_u64(),
        Some("# hello\n".len() as u64),
    )
}

/// A file of more calls than one batch takes.
fn batch() -> Check {
    const FILE: &str = "/calls";
    const CALLS: usize = 300;
    let mut calls = String::from("# calls of a test\n");
    for value in 0..CALLS {
        calls.push_str(&format!("ECHO {value}\n"));
    }
    std::fs::write(FILE, &calls)?;
    let text = succeed(&["batch", FILE])?;
    equal("lines", text.lines().count(), CALLS)?;
    let last = format!("{ECHO}: 299 (0x12b)");
    equal("the last", text.lines().last(), Some(last.as_str()))?;

    std::fs::write(FILE, format!("ECHO 1\n{UNREGISTERED}\nECHO 2\n"))?;
    let value = json(&["--json", "batch", FILE])?;
    equal("ok", &value["ok"], &Value::Bool(false))?;
    equal(
        "ENOSYS",
        value["results"][1]["name"].as_str(),
        Some("ENOSYS"),
    )?;
    equal("third", value["results"][2]["result"].as_u64(), Some(2))?;
    let value = json(&["--json", "batch", "--stop-on-error", FILE])?;
    equal("third", &value["results"][2]["called"], &Value::Bool(false))?;

    std::fs::write(FILE, "ECHO 1\nRANDOM 0x1000 8\n")?;
    let refusal = fail(&["batch", FILE], 1)?;
    let due = "hcall: the hcall module refused the batch";
    equal(&refusal, refusal.starts_with(due), true)
}

/// The command runs itself, restricted, and once more, restricted further.
fn restrict() -> Check {
    let echo = succeed(&["restrict", "ECHO,PROBE", "--", HCALL, "echo", "7"])?;
    equal("echo 7", echo, "7 (0x7)\n".to_owned())?;
    let refusal = fail(&["restrict", "ECHO", "--", HCALL, "call", "PROBE"], 1)?;
    let start = format!("hcall: the hcall module refused call {PROBE}");
    equal(&refusal, refusal.starts_with(&start), true)?;
    let twice = |ranges| {
        [
            "restrict", "ECHO", "--", HCALL, "restrict", ranges, "--", HCALL, "info",
        ]
    };
    succeed(&twice("none"))?;
    let refusal = fail(&twice("PROBE"), 1)?;
    let due = "hcall: the hcall module refused the restriction";
    equal(&refusal, refusal.starts_with(due), true)?;
    let missing = fail(&["restrict", "none", "--", "/nonexistent"], 1)?;
    equal(&missing, missing.starts_with("hcall: cannot run"), true)
}

fn run(arguments: &[&str]) -> Result<Output, Failure> {
    Command::new(HCALL)
        .args(arguments)
        .output()
        .map_err(|error| Failure::new(format!("{HCALL}: {error}")))
}

/// Standard output of a command that must succeed and not complain.
pub(super) fn succeed(arguments: &[&str]) -> Result<String, Failure> {
    let output = run(arguments)?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    equal(
        format_args!("standard error of {arguments:?}"),
        &*complaint,
        "",
    )?;
    equal(
        format_args!("status of {arguments:?}"),
        output.status.code(),
        Some(0),
    )?;
    Ok(String::from_utf8(output.stdout)?)
}

/// Standard error of a command that must fail with this status.
pub(super) fn fail(arguments: &[&str], status: i32) -> Result<String, Failure> {
    let output = run(arguments)?;
    equal(
        format_args!("status of {arguments:?}"),
        output.status.code(),
        Some(status),
    )?;
    Ok(String::from_utf8(output.stderr)?)
}

/// The object that a command printed, however it ended.
pub(super) fn json(arguments: &[&str]) -> Result<Value, Failure> {
    Ok(serde_json::from_slice(&run(arguments)?.stdout)?)
}
