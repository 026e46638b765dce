// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall-lab run`: the first hypercall, from a unikernel, a kernel and two processes.
//!
//! What runs are the two commands of the demonstration in `lab/suites.toml`: a unikernel,
//! then Linux.
//! On the local KVM each can run as it is; otherwise in the lab's machine. The handler of
//! the example prints a line for each call, and where that line stands says who called.

use std::fs::OpenOptions;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{bail, Context, Result};

use crate::boot::{boot, Boot};
use crate::console::Shown;
use crate::description::Suite;
use crate::initramfs;
use crate::process::{Collect, Finished, Job, Next, Stream, Watch};
use crate::workshop::Workshop;

/// What the handler's lines begin with.
const CALL: &str = "param1=";

/// What init says in the Linux guest when it starts a process.
const PROCESS_STARTS: &str = "GUEST-INIT run ";

/// Everything on the local KVM is done, or ended, after this.
const LIMIT: Duration = Duration::from_secs(60);

/// The callers that were seen.
#[derive(Debug, Default)]
struct Callers {
    unikernel: Option<String>,
    kernel: Option<String>,
    process: Option<String>,
    c_process: Option<String>,
}

pub(crate) fn run(workshop: &mut Workshop) -> Result<ExitCode> {
    let suite = workshop.descriptions.demonstration.clone();
    let [unikernel, linux] = &suite.commands[..] else {
        bail!("lab/suites.toml: the demonstration must have two commands, for a unikernel and for Linux");
    };
    let local = Local::find(workshop, &suite, &unikernel[0])?;
    let mut callers = Callers::default();
    if local != Local::None {
        println!("\nA unikernel, on the KVM of this machine:");
        let lines = run_here(workshop, &suite, unikernel)?;
        callers.unikernel = first_call(&lines);
    }
    if local == Local::Instruction {
        println!("\nLinux, on the KVM of this machine:");
        let lines = run_here(workshop, &suite, linux)?;
        callers.linux(&lines);
    } else {
        println!("\nA unikernel and Linux, on KVM in an emulated machine with SVM:");
        let [unikernel, linux] = run_nested(workshop, &suite)?;
        callers.unikernel = callers.unikernel.or_else(|| first_call(&unikernel));
        callers.linux(&linux);
    }
    Ok(callers.judge())
}

/// What the local KVM is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Local {
    None,
    /// Unikernels only.
    Unikernels,
    /// Everything.
    Instruction,
}

impl Local {
    /// Looks, and says what it found.
    fn find(workshop: &mut Workshop, suite: &Suite, vmm: &str) -> Result<Self> {
        if let Err(error) = OpenOptions::new().read(true).write(true).open("/dev/kvm") {
            println!("This machine: no KVM (/dev/kvm: {error})");
            return Ok(Self::None);
        }
        let vmm = initramfs::locate(workshop, &suite.image, vmm)?
            .context("the image does not hold the VMM")?;
        let mut collect = Collect::default();
        let finished = Job::new("probe", vmm)
            .arguments(["probe"])
            .limit(LIMIT)
            .run(workshop, &mut collect)?;
        println!("This machine:");
        if !finished.succeeded() {
            println!("  KVM is of no use here ({}):", finished.how());
            for line in finished.last_lines() {
                println!("  {line}");
            }
            return Ok(Self::None);
        }
        for line in &collect.output {
            println!("  {line}");
        }
        let instruction = collect
            .output
            .iter()
            .any(|line| line.trim_start().starts_with("instruction") && line.contains(" works "));
        Ok(if instruction {
            Self::Instruction
        } else {
            Self::Unikernels
        })
    }
}

/// Runs a command of the suite on this machine, with the image's files where they are here.
fn run_here(workshop: &mut Workshop, suite: &Suite, command: &[String]) -> Result<Vec<String>> {
    let mut here = Vec::new();
    for word in command {
        let file = initramfs::locate(workshop, &suite.image, word)?;
        here.push(file.map_or_else(|| word.clone(), |file| file.display().to_string()));
    }
    let mut show = Show::default();
    let finished = Job::new("first hypercall", &here[0])
        .arguments(&here[1..])
        .limit(LIMIT)
        .run(workshop, &mut show)?;
    if !finished.succeeded() {
        bail!(
            "{}: {}\n{}",
            command[0],
            finished.how(),
            finished.last_lines().join("\n")
        );
    }
    Ok(show.lines)
}

/// Shows what a program prints, and keeps its output.
#[derive(Debug, Default)]
struct Show {
    lines: Vec<String>,
}

impl Watch for Show {
    fn line(&mut self, stream: Stream, line: &str) -> Next {
        println!("  {line}");
        if stream == Stream::Output {
            self.lines.push(line.to_owned());
        }
        Next::GoOn
    }
}

/// Runs the suite in its machine; returns what its two commands printed.
fn run_nested(workshop: &mut Workshop, suite: &Suite) -> Result<[Vec<String>; 2]> {
    let (console, finished) = match boot(workshop, "demonstration", suite, Shown::Output)? {
        Boot::Ran(console, finished) => (console, finished),
        Boot::Failed(why) => bail!("the machine does not come up:\n{}", why.join("\n")),
        Boot::Missing(why) => bail!("{why}: run lab/provision/host-packages.sh"),
    };
    if console.status != Some(0) {
        let lines = finished.last_lines().join("\n");
        bail!(
            "the machine ended badly ({}):\n{lines}",
            describe(console.status, &finished)
        );
    }
    let mut outputs = console
        .lines
        .split(|line| line.starts_with("LAB-INIT run "))
        .skip(1);
    let mut output = || outputs.next().unwrap_or_default().to_vec();
    Ok([output(), output()])
}

fn describe(status: Option<i32>, finished: &Finished) -> String {
    status.map_or_else(|| finished.how(), |status| format!("status {status}"))
}

fn first_call(lines: &[String]) -> Option<String> {
    let call = |line: &String| line.find(CALL).map(|start| line[start..].to_owned());
    lines.iter().find_map(call)
}

impl Callers {
    /// The module calls while it is loaded, so before init starts the first process.
    fn linux(&mut self, lines: &[String]) {
        let mut callers = lines.split(|line| line.contains(PROCESS_STARTS));
        let mut next_call = || callers.next().and_then(first_call);
        self.kernel = next_call();
        self.process = next_call();
        self.c_process = next_call();
    }

    fn judge(&self) -> ExitCode {
        println!("\nThe handler was called by:");
        let mut status = ExitCode::SUCCESS;
        for (caller, call) in [
            ("a unikernel", &self.unikernel),
            ("the kernel's module", &self.kernel),
            ("a process", &self.process),
            ("a process in C", &self.c_process),
        ] {
            match call {
                Some(call) => println!("  {caller}: {call}"),
                None => {
                    println!("  {caller}: MISSING, no such call arrived");
                    status = ExitCode::FAILURE;
                }
            }
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_called_is_told_by_where_the_line_stands() {
        let lines = [
            "GUEST-INIT Linux 7.3",
            "param1=1 param2=2 param3=3",
            "GUEST-INIT module hcall.ko selftest=1",
            "GUEST-INIT run /bin/first-hypercall-process",
            "process: param1=4 param2=5 param3=6",
            "GUEST-INIT run /bin/first-hypercall-c",
            "param1=7 param2=8 param3=9",
        ]
        .map(str::to_owned);
        let mut callers = Callers::default();
        callers.linux(&lines);
        assert_eq!(
            callers.kernel.as_deref(),
            Some("param1=1 param2=2 param3=3")
        );
        assert_eq!(
            callers.process.as_deref(),
            Some("param1=4 param2=5 param3=6")
        );
        assert_eq!(
            callers.c_process.as_deref(),
            Some("param1=7 param2=8 param3=9")
        );

        callers.linux(&lines[2..4]);
        assert_eq!(callers.kernel, None);
        assert_eq!(callers.process, None);
        assert_eq!(callers.c_process, None);
    }
}
