// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall stats` and `hcall trace`.

use super::command::{fail, if_present, json, succeed, HCALL};
use crate::counted::{if_counted, Counted};
use crate::failure::{equal, Check, Failure};
use crate::tracefs::{if_traced, EVENT, TRACEFS};
use hcall_guest::abi::number::ECHO;
use hcall_guest::device::Device;
use hcall_ktap::Suite;
use hcall_lab_contract::UNREGISTERED;
use rustix::process::{kill_process, Pid, Signal};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a command may take to do what it was started for, in an interpreter too.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn add(suite: Suite<'_>) -> Suite<'_> {
    suite
        .case("hcall stats host", || if_present(host))
        .case("hcall stats enable, guest, disable, reset", || {
            if_counted(guest)
        })
        .case("hcall stats", || if_counted(both))
        .case("hcall trace --count", || if_traced(trace))
        .case("hcall trace --json", || if_traced(trace_json))
        .case("hcall trace ends by SIGINT and SIGTERM", || {
            if_traced(interrupted)
        })
        .case("hcall trace ends when nobody reads", || {
            if_traced(nobody_reads)
        })
}

/// Without the module.
pub(super) fn without_module() -> Check {
    for arguments in [&["stats", "guest"][..], &["stats", "enable"], &["trace"]] {
        let complaint = fail(arguments, 1)?;
        equal(&complaint, complaint.contains("modprobe hcall"), true)?;
        equal("lines", complaint.lines().count(), 1)?;
    }
    Ok(())
}

fn host() -> Check {
    let before = Device::open()?.stats()?;
    let value = json(&["stats", "host", "--json"])?;
    equal("ok", &value["ok"], &Value::Bool(true))?;
    // The command's own call is the next.
    equal(
        "calls",
        value["host"]["calls"].as_u64(),
        Some(before.calls + 1),
    )?;
    equal("guest", value.get("guest"), None)?;
    let text = succeed(&["stats", "host"])?;
    let line = format!("  calls        {}", before.calls + 2);
    equal(&text, text.lines().any(|found| found == line), true)
}

fn guest() -> Check {
    let device = Device::open()?;
    succeed(&["stats", "enable"])?;
    succeed(&["stats", "reset"])?;
    for value in 0..5 {
        device.hcall1(ECHO, value)?;
    }
    equal("unknown", device.hcall0(UNREGISTERED).is_err(), true)?;
    succeed(&["stats", "disable"])?;
    let value = json(&["stats", "guest", "--json"])?;
    let text = succeed(&["stats", "guest"])?;
    succeed(&["stats", "reset"])?;

    let guest = &value["guest"];
    equal("enabled", &guest["enabled"], &Value::Bool(false))?;
    equal("capacity", guest["capacity"].as_u64(), Some(128))?;
    // Sorted by number.
    let echo = &guest["rows"][0];
    equal("name", echo["name"].as_str(), Some("ECHO"))?;
    equal("calls", echo["calls"].as_u64(), Some(5))?;
    equal("errors", guest["rows"][1]["errors"].as_u64(), Some(1))?;
    let start = text.lines().nth(2).unwrap_or_default();
    let words: Vec<&str> = start.split_whitespace().take(3).collect();
    equal(&text, words, vec!["ECHO", "5", "0"])?;
    equal("rows", Counted::read()?.rows.len(), 1)
}

fn both() -> Check {
    let value = json(&["--json", "stats"])?;
    equal("host", value["host"]["calls"].as_u64() > Some(0), true)?;
    equal("guest", value["guest"]["rows"].is_array(), true)?;
    let text = succeed(&["stats"])?;
    let has = |start| text.lines().any(|line: &str| line.starts_with(start));
    equal(&text, (has("host: "), has("guest: ")), (true, true))
}

/// `hcall trace` with these arguments, once it traces.
fn start(arguments: &[&str], output: Stdio) -> Result<(Child, PathBuf), Failure> {
    let child = Command::new(HCALL)
        .arg("trace")
        .args(arguments)
        .stdout(output)
        .stderr(Stdio::piped())
        .spawn()?;
    let instance = Path::new(TRACEFS).join(format!("instances/hcall-{}", child.id()));
    let enable = instance.join(EVENT).join("enable");
    let on = || std::fs::read_to_string(&enable).is_ok_and(|text| text.trim() == "1");
    let begin = Instant::now();
    while !on() {
        if begin.elapsed() > PATIENCE {
            return Err(Failure::new("hcall trace does not begin"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok((child, instance))
}

/// Waits for a command that ended well, and left nothing.
fn end(child: Child, instance: &Path) -> Result<Output, Failure> {
    let output = child.wait_with_output()?;
    equal("status", output.status.code(), Some(0))?;
    equal("complaint", &*String::from_utf8_lossy(&output.stderr), "")?;
    equal("the instance is there", instance.exists(), false)?;
    Ok(output)
}

fn call(values: std::ops::Range<u64>) -> Check {
    let device = Device::open()?;
    for value in values {
        device.hcall1(ECHO, value)?;
    }
    Ok(())
}

fn trace() -> Check {
    let (child, instance) = start(&["--count", "3"], Stdio::piped())?;
    call(1..6)?;
    let text = String::from_utf8(end(child, &instance)?.stdout)?;
    equal("lines", text.lines().count(), 3)?;
    for (value, line) in (1..).zip(text.lines()) {
        let own = format!(
            "[{}] ECHO({value:#x}, 0x0, 0x0, 0x0) = {value} <",
            std::process::id()
        );
        equal(line, line.contains(&own), true)?;
    }
    Ok(())
}

fn trace_json() -> Check {
    let (child, instance) = start(&["--json", "--count", "2"], Stdio::piped())?;
    equal(
        "unknown",
        Device::open()?.hcall0(UNREGISTERED).is_err(),
        true,
    )?;
    call(9..10)?;
    let text = String::from_utf8(end(child, &instance)?.stdout)?;
    let values: Vec<Value> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let [unknown, echo, last] = &values[..] else {
        return Err(Failure::new(text));
    };
    equal("result", unknown["result"].as_i64(), Some(-38))?;
    equal("name", echo["name"].as_str(), Some("ECHO"))?;
    equal("argument", echo["arguments"][0].as_u64(), Some(9))?;
    equal("traced", last["traced"].as_u64(), Some(2))
}

fn interrupted() -> Check {
    for signal in [Signal::INT, Signal::TERM] {
        let (child, instance) = start(&[], Stdio::piped())?;
        kill_process(Pid::from_child(&child), signal)?;
        let output = end(child, &instance)?;
        equal("output", &*String::from_utf8_lossy(&output.stdout), "")?;
    }
    Ok(())
}

fn nobody_reads() -> Check {
    let (mut child, instance) = start(&[], Stdio::piped())?;
    drop(child.stdout.take());
    call(1..3)?;
    end(child, &instance).map(drop)
}

/// The module goes while the command waits for calls; `unload` unloads it.
pub(super) fn module_goes(unload: impl FnOnce() -> Check) -> Check {
    let (child, instance) = start(&[], Stdio::null())?;
    unload()?;
    let output = child.wait_with_output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    equal("status", output.status.code(), Some(1))?;
    equal("complaint", &*complaint, "hcall: the module was unloaded\n")?;
    equal("the instance is there", instance.exists(), false)
}
