// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall trace`: prints calls as they are made, until it has printed enough, is told to end,
//! or the module is gone.

use crate::failure::Failure;
use crate::output::Format;
use crate::trace_event::Event;
use crate::trace_instance::Instance;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

/// How long to sleep before looking whether the module is still there.
const GLANCE: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// Prints calls, at most `count`; how many it were.
pub(crate) fn follow(count: Option<u64>, format: Format) -> Result<u64, Failure> {
    // Before there is anything that would be left behind.
    let told = told_to_end().map_err(|error| {
        Failure::Unavailable(format!("cannot be told to end by a signal: {error}"))
    })?;
    let instance = Instance::make()?;
    let mut pipe = instance.pipe()?;
    let mut printer = Printer {
        format,
        left: count,
        printed: 0,
        rest: Vec::new(),
    };
    while printer.left != Some(0) {
        match wait(&pipe, &told)? {
            Woken::Calls => {
                if !printer.print(&mut pipe)? {
                    break;
                }
            }
            Woken::Nobody if instance.has_event() => {}
            Woken::Nobody => {
                return Err(Failure::Unavailable("the module was unloaded".to_owned()));
            }
            Woken::Signal => break,
        }
    }
    Ok(printer.printed)
}

/// A stream that can be read once one of the signals that end a command has come.
fn told_to_end() -> io::Result<UnixStream> {
    let (told, tell) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        pipe::register(signal, tell.try_clone()?)?;
    }
    Ok(told)
}

/// What ended a wait.
enum Woken {
    Calls,
    Signal,
    Nobody,
}

fn wait(calls: &std::fs::File, told: &UnixStream) -> Result<Woken, Failure> {
    let mut files = [
        PollFd::new(told, PollFlags::IN),
        PollFd::new(calls, PollFlags::IN),
    ];
    match poll(&mut files, Some(&GLANCE)) {
        // If the signal was to end the command, the stream says so next time.
        Err(Errno::INTR) => Ok(Woken::Nobody),
        Err(error) => Err(Failure::Unavailable(format!("cannot wait: {error}"))),
        Ok(_) if !files[0].revents().is_empty() => Ok(Woken::Signal),
        Ok(_) if !files[1].revents().is_empty() => Ok(Woken::Calls),
        Ok(_) => Ok(Woken::Nobody),
    }
}

/// Standard output, and what of a line has been read.
struct Printer {
    format: Format,
    /// How many calls are still to be printed, if not all.
    left: Option<u64>,
    printed: u64,
    rest: Vec<u8>,
}

impl Printer {
    /// Prints what is there now; whether anybody still reads what this prints.
    fn print(&mut self, pipe: &mut impl Read) -> Result<bool, Failure> {
        let mut buffer = [0; 8192];
        let length = match pipe.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) => {
                return Err(Failure::Unavailable(format!("cannot read calls: {error}")));
            }
        };
        self.rest.extend_from_slice(&buffer[..length]);
        let text = self.take_lines();
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::Output(error)),
        }
    }

    /// The whole lines that have been read, as they are to be printed.
    fn take_lines(&mut self) -> String {
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n');
        let rest = self.rest.split_off(whole.map_or(0, |end| end + 1));
        let lines = std::mem::replace(&mut self.rest, rest);
        let mut text = String::new();
        for line in String::from_utf8_lossy(&lines).lines() {
            if self.left == Some(0) {
                break;
            }
            text.push_str(&self.line(line));
        }
        text
    }

    fn line(&mut self, line: &str) -> String {
        let Some(event) = Event::parse(line) else {
            return match self.format {
                Format::Text => format!("# {line}\n"),
                Format::Json => format!("{}\n", json!({"note": line})),
            };
        };
        self.printed += 1;
        self.left = self.left.map(|left| left - 1);
        match self.format {
            Format::Text => event.text(),
            Format::Json => format!("{}\n", event.json()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = "a-1 [000] ..... 1.5: hcall_call: number=0x48430002 arg0=0x1 arg1=0 arg2=0 \
                        arg3=0 result=1 duration=9\n";

    #[test]
    fn lines_are_printed_once_they_are_whole() {
        let mut printer = Printer {
            format: Format::Text,
            left: Some(2),
            printed: 0,
            rest: Vec::new(),
        };
        let (begin, end) = CALL.split_at(20);
        printer.rest.extend_from_slice(begin.as_bytes());
        assert_eq!(printer.take_lines(), "");
        printer.rest.extend_from_slice(end.as_bytes());
        printer.rest.extend_from_slice(b"CPU:0 [LOST 1 EVENTS]\n");
        let text = printer.take_lines();
        let due = "1.500000 a[1] ECHO(0x1, 0x0, 0x0, 0x0) = 1 <9 ns>\n# CPU:0 [LOST 1 EVENTS]\n";
        assert_eq!(text, due);
        assert_eq!((printer.printed, printer.left), (1, Some(1)));

        printer.rest.extend_from_slice(CALL.repeat(2).as_bytes());
        assert_eq!(printer.take_lines().lines().count(), 1);
        assert_eq!((printer.printed, printer.left), (2, Some(0)));
    }
}
