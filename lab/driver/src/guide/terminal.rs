// SPDX-License-Identifier: MIT OR Apache-2.0
//! A terminal with a shell, at which commands are typed as a reader types them: one after the
//! other, the next when the last has printed what it was to print. A terminal and no pipe: in
//! a pipe, programs in the background and programs that read would behave otherwise.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use rustix::process::{kill_process, Pid, Signal};
use rustix::pty::{ioctl_tiocgptpeer, openpt, unlockpt, OpenptFlags};

use super::page::{keeps, Step};

/// What a command may take, and what was promised of it.
const LIMIT: Duration = Duration::from_secs(60);

/// What a shell may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// The prompt, which the shell prints after each command: its status between two characters
/// that nothing else prints.
const PROMPT: &str = "\u{1e}$?\u{1f}";
const STATUS: (char, char) = ('\u{1e}', '\u{1f}');

/// It has no echo, so that what is on the screen was printed, and keeps no history.
const PREPARATION: &str = "stty -echo; unset HISTFILE";

/// A terminal. When it goes, its shell and all that this has started get SIGHUP.
pub(super) struct Terminal {
    shell: Child,
    keys: File,
    printed: Receiver<Vec<u8>>,
    /// What was printed since the last command.
    screen: Vec<u8>,
}

impl Terminal {
    /// Opens one in this directory.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).context("cannot open a terminal")?;
        unlockpt(&master).context("cannot unlock a terminal")?;
        let end = ioctl_tiocgptpeer(&master, flags).context("cannot open a terminal's end")?;
        let another = || end.try_clone().context("cannot duplicate a terminal's end");
        let shell = Command::new("setsid")
            .args([
                "--ctty",
                "bash",
                "--norc",
                "--noprofile",
                "--noediting",
                "-i",
            ])
            .env("PS1", PROMPT)
            .env("TERM", "dumb")
            .current_dir(directory)
            .stdin(another()?)
            .stdout(another()?)
            .stderr(another()?)
            .spawn()
            .context("cannot run setsid")?;
        let keys = File::from(master);
        let screen = keys.try_clone().context("cannot duplicate a terminal")?;
        let mut terminal = Self {
            shell,
            keys,
            printed: read(screen),
            screen: Vec::new(),
        };
        terminal.wait_until(|screen| screen.status.is_some())?;
        terminal.type_line(PREPARATION)?;
        terminal.wait_until(|screen| screen.status.is_some())?;
        Ok(terminal)
    }

    /// Types the command, and waits until it has succeeded and the screen shows what was
    /// promised, and nothing else.
    pub(super) fn enter(&mut self, step: &Step<'_>) -> Result<()> {
        self.type_line(step.command)?;
        let command = step.command;
        let kept = |screen: &Screen| {
            screen.status.as_deref() == Some("0") && keeps(&screen.text, &step.promise)
        };
        let screen = self.wait_until(kept)?;
        if !kept(&screen) {
            let status = screen.status.as_deref().unwrap_or("it goes on");
            bail!(
                "$ {command}\nstatus: {status}\nprinted:\n{}promised:\n{}",
                screen.text,
                step.promise
            );
        }
        Ok(())
    }

    fn type_line(&mut self, line: &str) -> Result<()> {
        self.screen.clear();
        writeln!(self.keys, "{line}").context("cannot type into a terminal")
    }

    /// Watches the screen until it is as wanted, the command has failed, or it is too late.
    fn wait_until(&mut self, wanted: impl Fn(&Screen) -> bool) -> Result<Screen> {
        let start = Instant::now();
        loop {
            let screen = Screen::of(&self.screen);
            let failed = screen.status.as_deref().is_some_and(|status| status != "0");
            if failed || wanted(&screen) {
                return Ok(screen);
            }
            let left = LIMIT.saturating_sub(start.elapsed());
            match self.printed.recv_timeout(left) {
                Ok(bytes) => self.screen.extend(bytes),
                Err(RecvTimeoutError::Timeout) => return Ok(screen),
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the shell has ended:\n{}", screen.text);
                }
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It passes that on to its jobs. What has ended already need not be told.
        let _ = kill_process(Pid::from_child(&self.shell), Signal::HUP);
        let start = Instant::now();
        while matches!(self.shell.try_wait(), Ok(None)) {
            if start.elapsed() > GRACE {
                let _ = self.shell.kill();
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What stands on the screen.
struct Screen {
    /// Of the last command, if it has ended.
    status: Option<String>,
    /// Without prompts, and without what the shell says of its jobs.
    text: String,
}

impl Screen {
    fn of(bytes: &[u8]) -> Self {
        let printed = String::from_utf8_lossy(bytes).replace('\r', "");
        let (mut status, mut text) = (None, String::new());
        let mut rest = printed.as_str();
        while let Some((before, after)) = rest.split_once(STATUS.0) {
            text.push_str(before);
            let Some((number, after)) = after.split_once(STATUS.1) else {
                // The rest of the prompt is to come.
                rest = "";
                break;
            };
            status = Some(number.to_owned());
            rest = after;
        }
        text.push_str(rest);
        let text = text
            .split_inclusive('\n')
            .filter(|line| !is_of_a_job(line))
            .collect();
        Self { status, text }
    }
}

/// `[1] 4711`, or `[1]+  Done`.
fn is_of_a_job(line: &str) -> bool {
    line.strip_prefix('[')
        .and_then(|line| line.split_once(']'))
        .is_some_and(|(number, _)| number.parse::<u32>().is_ok())
}

/// Sends what is printed, until nobody has the terminal's end any more.
fn read(mut screen: File) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = screen.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step<'a>(command: &'a str, promise: &str) -> Step<'a> {
        Step {
            command,
            promise: promise.into(),
        }
    }

    #[test]
    fn commands_must_keep_what_was_promised() {
        let directory = std::env::temp_dir();
        let mut terminal = Terminal::open(&directory).expect("a terminal");
        for (command, promise) in [
            ("a=5", ""),
            ("echo $a; test -t 0 && echo terminal", "5\nterminal\n"),
            ("(sleep 0.2; echo later) &", "later\n"),
            ("kill %nothing 2>/dev/null || echo none", "none\n"),
        ] {
            terminal.enter(&step(command, promise)).expect(command);
        }
        assert!(terminal.enter(&step("false", "")).is_err());
        assert!(terminal.enter(&step("exit 0", "")).is_err());
    }

    #[test]
    fn prompts_and_jobs_are_no_output() {
        let screen = Screen::of(b"[1] 4711\r\n\x1e0\x1fsaid\r\n[1]+  Done   true\r\n\x1e12");
        assert_eq!(screen.status.as_deref(), Some("0"));
        assert_eq!(screen.text, "said\n");
        assert_eq!(Screen::of(b"x").status, None);
    }
}
