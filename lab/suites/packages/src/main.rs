// SPDX-License-Identifier: MIT OR Apache-2.0
//! `packages-suite`: what somebody does in a guest who has installed the packages. The
//! module is the one that DKMS built, the commands are the packages' own. Reports in KTAP.
#![forbid(unsafe_code)]

use hcall_ktap::{CaseResult, Suite, Verdict};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, ExitCode};

const HCALL: &str = "/usr/bin/hcall";
const MODPROBE: &str = "/usr/sbin/modprobe";
const NODE: &str = "/dev/hcall";

fn main() -> ExitCode {
    Suite::new("packages")
        .case(
            "before modprobe, hcall says that there is no module",
            || passes(absent()),
        )
        .case("modprobe hcall", || passes(load()))
        .case("hcall info", || passes(info()))
        .case("hcall echo 42", || passes(echo()))
        .case("hcall bench", || passes(bench()))
        .case("modprobe --remove hcall", || passes(unload()))
        .run()
}

fn passes(check: Result<(), String>) -> CaseResult {
    check.map(|()| Verdict::Pass)
}

fn absent() -> Result<(), String> {
    let output = Command::new(HCALL)
        .arg("info")
        .output()
        .map_err(|error| format!("{HCALL}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(1) && said.contains("is the module hcall loaded?") {
        return Ok(());
    }
    Err(format!("{}: {said}", output.status))
}

fn load() -> Result<(), String> {
    let files = succeed(MODPROBE, &["--show-depends", "hcall"])?;
    if !files.contains("/updates/dkms/hcall.ko") {
        return Err(format!("modprobe would load {files}"));
    }
    succeed(MODPROBE, &["hcall"])?;
    exists(NODE, true)
}

fn info() -> Result<(), String> {
    let value = json(&["info", "--json"])?;
    equal("transport", &value["transport"], &"instruction".into())
}

fn echo() -> Result<(), String> {
    let answer = succeed(HCALL, &["echo", "42"])?;
    equal("echo 42", &answer, &"42 (0x2a)\n".to_owned())
}

/// All three ways were measured, and took time; how much is no matter here.
fn bench() -> Result<(), String> {
    let value = json(&["bench", "--json", "--calls", "300"])?;
    equal("call", &value["call"], &"ECHO".into())?;
    for way in ["single", "batch", "ring"] {
        let timing = &value["ways"][way];
        let median = timing["nanoseconds"]["median"].as_f64();
        let calls = timing["calls"].as_u64();
        if median.is_none_or(|median| median <= 0.0) || calls.is_none_or(|calls| calls < 300) {
            return Err(format!("{way}: {timing}"));
        }
    }
    let text = succeed(HCALL, &["bench", "--call", "probe", "--calls", "300"])?;
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    if !head.starts_with("PROBE from a process, transport instruction (") || lines.count() < 4 {
        return Err(text);
    }
    Ok(())
}

fn unload() -> Result<(), String> {
    succeed(MODPROBE, &["--remove", "hcall"])?;
    exists(NODE, false)
}

/// Standard output of a command that must succeed.
fn succeed(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "{program} {arguments:?}: {}: {said}",
            output.status
        ));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{program}: {error}"))
}

fn json(arguments: &[&str]) -> Result<Value, String> {
    let text = succeed(HCALL, arguments)?;
    serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
}

fn exists(path: &str, due: bool) -> Result<(), String> {
    equal(path, &Path::new(path).exists(), &due)
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, due: &T) -> Result<(), String> {
    if found == due {
        return Ok(());
    }
    Err(format!("{what}: found {found:?}, due {due:?}"))
}
