// SPDX-License-Identifier: MIT OR Apache-2.0
//! A process on each processor, all making hypercalls at once.

use super::pin;
use crate::failure::{equal, Check, Failure};
use hcall_guest::abi::Transport;
use hcall_guest::device::Device;
use hcall_lab_contract::{mix, ArgumentSequence, CALLS_PER_PROCESSOR, COUNT, MIX};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

/// The processes wait for each other before the first half of their calls and before the
/// second: at that moment all are in the middle of theirs.
const HALVES: u64 = 2;
/// What a process says when it waits.
const WAITING: &str = "waiting\n";
const GO_ON: &[u8] = b"go on\n";

/// Each process checks its results, and the host counts the calls of all.
pub(super) fn all_call(transport: Transport, count: usize) -> Check {
    let device = Device::open()?;
    let counted = || device.hcall1(COUNT, transport.raw().into());
    let before = counted()?;
    let mut callers = (0..count)
        .map(Caller::start)
        .collect::<Result<Vec<_>, _>>()?;
    for _ in 0..HALVES {
        for caller in &mut callers {
            caller.expect_waiting()?;
        }
        for caller in &mut callers {
            caller.input.write_all(GO_ON)?;
        }
    }
    for caller in callers {
        caller.expect_success()?;
    }
    // This process' own call is one of them.
    let due = count as u64 * CALLS_PER_PROCESSOR + 1;
    equal("calls that the host counted", counted()? - before, due)
}

/// A process that calls on one processor. It ends when it is dropped: its input ends.
struct Caller {
    processor: usize,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Caller {
    fn start(processor: usize) -> Result<Self, Failure> {
        let mut child = Command::new("/proc/self/exe")
            .args(["--call-on", &processor.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (input, output) = child
            .stdin
            .take()
            .zip(child.stdout.take())
            .ok_or_else(|| Failure::new("a process was started without pipes"))?;
        Ok(Self {
            processor,
            child,
            input,
            output: BufReader::new(output),
        })
    }

    fn expect_waiting(&mut self) -> Check {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line == WAITING {
            return Ok(());
        }
        Err(self.failure(&format!("said {line:?}")))
    }

    fn expect_success(mut self) -> Check {
        let status = self.child.wait()?;
        if status.success() {
            return Ok(());
        }
        Err(self.failure(&format!("ended with {status}")))
    }

    fn failure(&mut self, what: &str) -> Failure {
        let mut errors = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            // What can be read says more than that the rest cannot.
            let _ = stderr.read_to_string(&mut errors);
        }
        Failure::new(format!(
            "the process on processor {} {what}: {}",
            self.processor,
            errors.trim()
        ))
    }
}

/// What the process does.
pub(crate) fn call_on(processor: usize) -> ExitCode {
    match call_in_halves(processor) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn call_in_halves(processor: usize) -> Check {
    pin(processor)?;
    let device = Device::open()?;
    let mut sequence = ArgumentSequence::new(processor as u64);
    for _ in 0..HALVES {
        let mut output = std::io::stdout();
        output.write_all(WAITING.as_bytes())?;
        output.flush()?;
        let mut line = String::new();
        if std::io::stdin().read_line(&mut line)? == 0 {
            return Err(Failure::new("the process that started this one is gone"));
        }
        for _ in 0..CALLS_PER_PROCESSOR / HALVES {
            let arguments = sequence.next_arguments(4);
            let [a, b, c, d] = arguments;
            let answer = device.hcall4(MIX[4], a, b, c, d);
            equal("MIX4", answer, Ok(mix(4, arguments)))?;
        }
    }
    Ok(())
}
