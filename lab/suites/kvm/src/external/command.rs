// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall-vmm run --handler NUMBER=unix:SOCKET`, with the example of such a process.

use super::process::HandlerProcess;
use super::Setting;
use hcall_abi::Transport;
use hcall_ktap::{CaseResult, Verdict};
use hcall_lab_contract::SHOUT;
use std::fmt::Display;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

/// Exit status of `hcall-vmm` when there was no VM to run.
const STATUS_VMM: i32 = 125;

/// The option that has `socket` answer the example's number.
fn handler(socket: impl Display) -> String {
    format!("--handler={:#x}=unix:{socket}", SHOUT.get())
}

fn run(setting: &Setting, transport: Transport, options: &[&str]) -> Result<Output, String> {
    let vmm = setting.vmm.as_ref().ok_or("no hcall-vmm was given")?;
    Command::new(vmm)
        .arg("run")
        .arg(setting.guests.join("shout"))
        .args(["--transport", transport.name()])
        .args(options)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", vmm.display()))
}

pub(super) fn answer_a_guest(setting: &Setting, transport: Transport) -> CaseResult {
    let process = HandlerProcess::start(&setting.handlers.join("shout"), &[])?;
    let option = handler(process.socket().display());
    // The process serves one VM after the other.
    for _ in 0..2 {
        let output = run(setting, transport, &[&option])?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() || said != "the handler answers\n" {
            let complained = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{}: {said}{complained}", output.status));
        }
    }
    let output = run(setting, transport, &[&option, &option])?;
    expect_refusal(&output, &["has a handler already"])?;
    Ok(Verdict::Pass)
}

pub(super) fn refuse_what_is_none(setting: &Setting, transport: Transport) -> CaseResult {
    let place = std::env::temp_dir().join(format!("no-handler-{}", std::process::id()));
    let option = handler(place.display());
    let output = run(setting, transport, &[&option])?;
    expect_refusal(
        &output,
        &["cannot connect to", "is the handler's process running?"],
    )?;
    // Somebody who hangs up, and somebody who says nothing.
    let refused = with_listener(&place, 1, || run(setting, transport, &[&option]));
    expect_refusal(&refused?, &["closed the connection", "does it answer"])?;
    let silent = UnixListener::bind(&place).map_err(|error| error.to_string())?;
    let options = [&option, "--handler-timeout=300"];
    let refused = run(setting, transport, &options);
    drop(silent);
    let _ = std::fs::remove_file(&place);
    expect_refusal(&refused?, &["said nothing for 300ms"])?;
    Ok(Verdict::Pass)
}

/// Does something while somebody at `place` accepts `count` connections, and hangs up.
fn with_listener<T>(place: &Path, count: usize, act: impl FnOnce() -> T) -> T {
    let listener = UnixListener::bind(place).expect("the directory for temporary files");
    let hanging_up = thread::spawn(move || listener.incoming().take(count).for_each(drop));
    let done = act();
    let _ = std::os::unix::net::UnixStream::connect(place);
    hanging_up.join().expect("it does not panic");
    let _ = std::fs::remove_file(place);
    done
}

fn expect_refusal(output: &Output, parts: &[&str]) -> Result<(), String> {
    let text = String::from_utf8_lossy(&output.stderr);
    let missing = parts.iter().find(|part| !text.contains(**part));
    if output.status.code() == Some(STATUS_VMM) && missing.is_none() {
        return Ok(());
    }
    Err(format!("{}, missing: {missing:?}: {text}", output.status))
}
