// SPDX-License-Identifier: MIT OR Apache-2.0
//! The console of a machine of the lab, watched while it runs.

use std::time::{Duration, Instant};

use hcall_ktap::{Outcome, Parser};

use crate::process::{Next, Stream, Watch};

/// How long a machine may take to end after its init said it would, and how long its
/// kernel may go on talking after an oops.
const GRACE: Duration = Duration::from_secs(10);

/// What a kernel's console line holds when something is badly wrong.
const OOPS: [&str; 5] = [
    "Kernel panic",
    "Oops",
    "BUG:",
    "general protection fault",
    "Call Trace:",
];

/// What of a machine's output is shown while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// What init says, and the results of tests.
    Progress,
    /// Everything, from the first command on.
    Output,
}

/// What was seen of one boot.
#[derive(Debug)]
pub(crate) struct Console {
    shown: Shown,
    started: Instant,
    boot_limit: Duration,
    phase: Phase,
    deadline: Option<Instant>,
    results: Parser,
    /// Every line.
    pub(crate) lines: Vec<String>,
    /// The status that init gave at the end.
    pub(crate) status: Option<i32>,
    /// The first sign of an oops.
    pub(crate) oops: Option<String>,
    /// Why the machine never came to run its first command.
    pub(crate) boot_failure: Option<String>,
}

/// How far the machine has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Init has said nothing yet.
    Booting,
    /// Init prepares the machine.
    Preparing,
    /// The first command has been started; from here on, every failure is a failed check.
    Running,
}

impl Console {
    pub(crate) fn new(boot_limit: Duration, shown: Shown) -> Self {
        Self {
            shown,
            started: Instant::now(),
            boot_limit,
            phase: Phase::Booting,
            deadline: None,
            results: Parser::new(),
            lines: Vec::new(),
            status: None,
            oops: None,
            boot_failure: None,
        }
    }

    /// The emulator has ended, for whatever reason.
    pub(crate) fn closed(&mut self) {
        if self.phase == Phase::Booting && self.boot_failure.is_none() {
            self.boot_failure = Some("the emulator ended before init said anything".to_owned());
        }
    }

    fn progress(&self, what: &str) {
        println!(
            "      {:5.1} s  {what}",
            self.started.elapsed().as_secs_f32()
        );
    }

    fn init_line(&mut self, message: &str) {
        self.phase = self.phase.max(Phase::Preparing);
        if message.starts_with("run ") {
            self.phase = Phase::Running;
        }
        self.progress(message);
    }

    fn kernel_line(&mut self, line: &str) {
        if self.oops.is_some() || !OOPS.iter().any(|sign| line.contains(sign)) {
            return;
        }
        self.progress(line);
        self.oops = Some(line.to_owned());
        if self.phase < Phase::Running {
            self.boot_failure = Some(format!(
                "the kernel failed before the first command: {line}"
            ));
            self.deadline = Some(Instant::now() + GRACE);
        }
    }

    fn result_line(&mut self, line: &str) {
        let Some(test) = self.results.push(line) else {
            return;
        };
        let said = match &test.outcome {
            _ if test.failed() => format!("FAILED {}", test.name),
            Outcome::Skipped(reason) => format!("SKIP {}: {reason}", test.name),
            _ => format!("ok {}", test.name),
        };
        self.progress(&said);
    }
}

impl Watch for Console {
    fn line(&mut self, stream: Stream, line: &str) -> Next {
        // What the emulator itself says is in the log, and is no result.
        if stream == Stream::Errors {
            return Next::GoOn;
        }
        if let Some(message) = from_init(line, "LAB-INIT ") {
            self.init_line(message);
        } else if let Some(status) = from_init(line, "LAB-EXIT status=") {
            self.status = status.trim().parse().ok();
            self.deadline = Some(Instant::now() + GRACE);
        } else if line.trim_start().starts_with('[') {
            self.kernel_line(line);
        } else if self.shown == Shown::Output && self.phase == Phase::Running {
            println!("  {line}");
        }
        self.result_line(line);
        self.lines.push(line.to_owned());
        Next::GoOn
    }

    fn tick(&mut self) -> Next {
        if self.phase == Phase::Booting
            && self.boot_failure.is_none()
            && self.started.elapsed() > self.boot_limit
        {
            let limit = self.boot_limit.as_secs();
            self.boot_failure = Some(format!("init said nothing within {limit} s"));
            return Next::End;
        }
        match self.deadline {
            Some(deadline) if Instant::now() > deadline => Next::End,
            _ => Next::GoOn,
        }
    }
}

/// What init said behind `marker`. A BIOS leaves its escape sequences in front of the first
/// line; any other text there makes it a quotation, as of the console of a guest's guest.
fn from_init<'a>(line: &'a str, marker: &str) -> Option<&'a str> {
    let (before, message) = line.split_once(marker)?;
    (before.is_empty() || before.contains('\u{1b}')).then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(lines: &[&str]) -> Console {
        let mut console = Console::new(Duration::from_secs(60), Shown::Progress);
        for line in lines {
            assert_eq!(console.line(Stream::Output, line), Next::GoOn);
        }
        console.closed();
        console
    }

    const INIT: &str = "\u{1b}c\u{1b}[?7lLAB-INIT Linux 7.3";
    const RUN: &str = "LAB-INIT run /bin/x";
    const PANIC: &str = "[    1.5] Kernel panic - not syncing";

    #[test]
    fn a_good_run() {
        let quotation = "# L2| LAB-EXIT status=7";
        let console = console(&[INIT, RUN, "KTAP version 1", "LAB-EXIT status=3", quotation]);
        assert_eq!(console.boot_failure, None);
        assert_eq!(console.oops, None);
        assert_eq!(console.status, Some(3));
    }

    #[test]
    fn boot_failures() {
        let failure = |lines: &[&str]| console(lines).boot_failure.expect("a boot failure");
        assert!(failure(&["SeaBIOS"]).contains("before init"));
        assert!(failure(&[INIT, PANIC]).contains("Kernel panic"));
        assert!(failure(&[PANIC]).contains("Kernel panic"));
    }

    #[test]
    fn what_the_emulator_says_itself_is_no_console() {
        let mut console = Console::new(Duration::from_secs(60), Shown::Progress);
        for line in [INIT, RUN, PANIC, "LAB-EXIT status=0"] {
            assert_eq!(console.line(Stream::Errors, line), Next::GoOn);
        }
        assert!(console.lines.is_empty() && console.oops.is_none());
        assert_eq!(console.status, None);
    }

    #[test]
    fn what_comes_after_the_first_command_is_no_boot_failure() {
        let console = console(&[INIT, RUN, PANIC]);
        assert_eq!(console.boot_failure, None);
        assert_eq!(console.oops.as_deref(), Some(PANIC));
    }

    #[test]
    fn a_silent_machine_is_ended() {
        let mut console = Console::new(Duration::ZERO, Shown::Progress);
        assert_eq!(console.tick(), Next::End);
        assert!(console
            .boot_failure
            .is_some_and(|failure| failure.contains("nothing")));
    }
}
