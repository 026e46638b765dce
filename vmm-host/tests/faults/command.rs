// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command, under a limit on its time.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Status when there was no VM to run.
const STATUS_VMM: i32 = hcall_vmm::cli::STATUS_VMM as i32;
const LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn hcall_vmm(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hcall-vmm"));
    command.args(arguments);
    command
}

/// The command ends in time, with one line that has `reason` in it.
#[track_caller]
pub(crate) fn expect_refusal(mut command: Command, reason: &str) {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            break status;
        }
        if start.elapsed() > LIMIT {
            child.kill().expect("a child of ours");
            panic!("still running after {LIMIT:?}");
        }
        sleep(Duration::from_millis(5));
    };
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("it is a pipe");
    stderr.read_to_string(&mut said).expect("it is text");
    assert_eq!(status.code(), Some(STATUS_VMM), "{said}");
    assert!(said.contains(reason), "should say '{reason}': {said}");
    assert_eq!(said.lines().count(), 1, "one line: {said}");
}
