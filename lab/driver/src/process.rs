// SPDX-License-Identifier: MIT OR Apache-2.0
//! Running programs: every one under a time limit, its output read line by line, kept in
//! a log, and gone with its whole process group when it or this program ends.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use rustix::pipe::{pipe_with, PipeFlags};
use rustix::process::{waitid, Pid, WaitId, WaitIdOptions};

use crate::follow::follow;
use crate::interrupt;
use crate::workshop::{Verbosity, Workshop};

/// How many of the last lines are shown of what failed.
pub(crate) const SHOWN: usize = 40;

const TICK: Duration = Duration::from_millis(500);

/// How long a program may live after it has closed its output.
const GRACE: Duration = Duration::from_secs(10);

/// Which process group a program runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// One of its own, all of which ends with it.
    Own,
    /// This program's: for what may ask at the terminal, as `sudo` does.
    Callers,
}

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Output,
    Errors,
}

/// What a watcher wants after a line or a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    GoOn,
    End,
}

/// Sees what a program prints while it runs.
pub(crate) trait Watch {
    fn line(&mut self, stream: Stream, line: &str) -> Next;

    /// Called about twice a second, and after each line.
    fn tick(&mut self) -> Next {
        Next::GoOn
    }
}

/// A watcher that keeps the output, and shows what a provisioning script says meanwhile,
/// as `NAME.sh: message`.
#[derive(Debug, Default)]
pub(crate) struct Collect {
    pub(crate) output: Vec<String>,
}

impl Watch for Collect {
    fn line(&mut self, stream: Stream, line: &str) -> Next {
        if stream == Stream::Output {
            self.output.push(line.to_owned());
        } else if let Some((script, message)) = line.split_once(".sh: ") {
            if !script.contains(' ') {
                println!("      {message}");
            }
        }
        Next::GoOn
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Exited(ExitStatus),
    /// It was still running after this time.
    TimedOut(Duration),
    /// The watcher ended it.
    Stopped,
}

/// A program that ran.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) end: End,
    pub(crate) log: PathBuf,
    tail: VecDeque<String>,
}

impl Finished {
    pub(crate) fn succeeded(&self) -> bool {
        matches!(self.end, End::Exited(status) if status.success())
    }

    pub(crate) fn exited_with(&self, expected: i32) -> bool {
        matches!(self.end, End::Exited(status) if status.code() == Some(expected))
    }

    /// How it ended, in words.
    pub(crate) fn how(&self) -> String {
        match self.end {
            End::Exited(status) => status.to_string(),
            End::TimedOut(limit) => {
                format!("not finished within {} s, and ended", limit.as_secs())
            }
            End::Stopped => "ended by the lab".to_owned(),
        }
    }

    /// How it ended, and its last lines.
    pub(crate) fn failure(&self) -> Vec<String> {
        let mut why = vec![self.how()];
        why.extend(self.last_lines());
        why
    }

    /// The last lines and where the others are.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.tail.iter().cloned().collect();
        lines.push(format!("(the whole log: {})", self.log.display()));
        lines
    }
}

/// A program to be run.
#[derive(Debug)]
pub(crate) struct Job {
    name: String,
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    limit: Duration,
    group: Group,
    /// The one stream that is shown, where it is not both.
    shown: Option<Stream>,
    streams: Streams,
}

/// How a program's two streams are read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Streams {
    /// Each for itself; which line came first is not known exactly.
    Apart,
    /// As one, in the order of writing, all as [`Stream::Output`].
    Merged,
    /// The output is what the program writes to this file; both its streams are errors.
    File(PathBuf),
}

impl Job {
    /// `name` is for messages and the log's file name.
    pub(crate) fn new(name: impl Into<String>, program: impl AsRef<OsStr>) -> Self {
        Self {
            name: name.into(),
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            limit: Duration::from_secs(600),
            group: Group::Own,
            shown: None,
            streams: Streams::Apart,
        }
    }

    pub(crate) fn arguments<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, arguments: I) -> Self {
        self.arguments.extend(
            arguments
                .into_iter()
                .map(|argument| argument.as_ref().to_owned()),
        );
        self
    }

    pub(crate) fn environment(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.into(), value.as_ref().to_owned()));
        self
    }

    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub(crate) fn group(mut self, group: Group) -> Self {
        self.group = group;
        self
    }

    /// Has the errors arrive as output, so that the order of all lines is known.
    pub(crate) fn merged(mut self) -> Self {
        self.streams = Streams::Merged;
        self
    }

    /// Has the lines of a file arrive as output, which the program writes to; it is emptied
    /// first.
    pub(crate) fn output_in(mut self, file: &Path) -> Self {
        self.streams = Streams::File(file.to_owned());
        self
    }

    /// Runs it, however it ends.
    pub(crate) fn run(self, workshop: &Workshop, watch: &mut dyn Watch) -> Result<Finished> {
        let (log, path) = workshop.logs.create(&self.name)?;
        let mut command = self.command(workshop);
        let source = match &self.streams {
            Streams::Apart => Source::Streams,
            Streams::Merged => Source::Merged(merge_streams(&mut command)?),
            Streams::File(path) => Source::File(empty_file(path)?),
        };
        let mut child = interrupt::register(self.group, || command.spawn(), Pid::from_child)
            .with_context(|| format!("cannot run {}", self.program.to_string_lossy()))?;
        let pid = Pid::from_child(&child);
        // It holds writing ends of the merged streams, which would never end.
        drop(command);
        let lines = read_lines(&mut child, source);
        let mut reading = Reading {
            log,
            tail: VecDeque::new(),
            verbosity: workshop.verbosity,
            shown: self.shown,
        };
        let stopped = reading.until_the_end(&lines, self.limit, watch);
        let ended_itself = matches!(stopped, Ok(None)) && ends_soon(&child);
        if !ended_itself || self.group == Group::Own {
            interrupt::end_child(pid);
        }
        let status = child.wait().context("cannot wait for a child");
        interrupt::unregister(pid);
        Ok(Finished {
            end: stopped?.unwrap_or(End::Exited(status?)),
            log: path,
            tail: reading.tail,
        })
    }

    /// Runs it and returns its output, which is data; its failure is an error.
    pub(crate) fn output(mut self, workshop: &Workshop) -> Result<Vec<String>> {
        self.shown = Some(Stream::Errors);
        let name = self.name.clone();
        let mut collect = Collect::default();
        let finished = self.run(workshop, &mut collect)?;
        if !finished.succeeded() {
            bail!(
                "{name}: {}\n{}",
                finished.how(),
                finished.last_lines().join("\n")
            );
        }
        Ok(collect.output)
    }

    /// `setpriv` has the kernel end the program when this one dies, however it does.
    fn command(&self, workshop: &Workshop) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&self.program)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&workshop.places.checkout)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if self.group == Group::Own {
            command.process_group(0);
        }
        command
    }
}

/// Whether a child that closed its output ends. It is not reaped, so that its process group
/// can still be named safely.
fn ends_soon(child: &Child) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    let started = Instant::now();
    while started.elapsed() < GRACE {
        if matches!(
            waitid(WaitId::Pid(Pid::from_child(child)), options),
            Ok(Some(_))
        ) {
            return true;
        }
        thread::sleep(Duration::from_millis(5));
    }
    false
}

type Line = (Stream, String);

/// Gives a program one pipe for both streams; returns the reading end.
fn merge_streams(command: &mut Command) -> Result<File> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;
    let errors = writer.try_clone().context("cannot duplicate a pipe")?;
    command.stdout(writer).stderr(errors);
    Ok(File::from(reader))
}

/// Makes a file, or empties it; returns it for reading.
fn empty_file(path: &Path) -> Result<File> {
    File::create(path)
        .and_then(|_| File::open(path))
        .with_context(|| format!("cannot make {}", path.display()))
}

/// Where the lines of a running program come from.
enum Source {
    /// Its two streams.
    Streams,
    /// The one pipe that both its streams are.
    Merged(File),
    /// A file that it writes to, and its two streams.
    File(File),
}

fn read_lines(child: &mut Child, source: Source) -> Receiver<Line> {
    let (sender, receiver) = channel();
    let (alive, ended) = channel();
    let mut output = Stream::Output;
    match source {
        Source::Streams => {}
        Source::Merged(merged) => {
            forward(Stream::Output, merged, sender.clone(), alive.clone());
        }
        Source::File(file) => {
            output = Stream::Errors;
            forward_file(file, ended, sender.clone());
        }
    }
    if let Some(stdout) = child.stdout.take() {
        forward(output, stdout, sender.clone(), alive.clone());
    }
    if let Some(stderr) = child.stderr.take() {
        forward(Stream::Errors, stderr, sender, alive);
    }
    receiver
}

/// Sends the lines of `from` until it ends or nobody listens any more; drops `alive` then.
fn forward(
    stream: Stream,
    from: impl Read + Send + 'static,
    to: Sender<Line>,
    alive: Sender<Infallible>,
) {
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut bytes = Vec::new();
        while matches!(from.read_until(b'\n', &mut bytes), Ok(length) if length > 0) {
            if to.send((stream, text_of(&bytes))).is_err() {
                break;
            }
            bytes.clear();
        }
        drop(alive);
    });
}

/// Sends the lines of a file as output until the program has `ended`.
fn forward_file(file: File, ended: Receiver<Infallible>, to: Sender<Line>) {
    thread::spawn(move || {
        let send = |line: &[u8]| to.send((Stream::Output, text_of(line))).is_ok();
        if let Err(error) = follow(file, &ended, send) {
            // Without a receiver the program has been given up already.
            let _ = to.send((Stream::Errors, format!("cannot read the console: {error}")));
        }
    });
}

fn text_of(line: &[u8]) -> String {
    String::from_utf8_lossy(line)
        .trim_end_matches(['\r', '\n'])
        .to_owned()
}

/// What is done with each line.
struct Reading {
    log: File,
    tail: VecDeque<String>,
    verbosity: Verbosity,
    shown: Option<Stream>,
}

impl Reading {
    /// Reads until the program has closed its output, or there is a reason to end it.
    fn until_the_end(
        &mut self,
        lines: &Receiver<Line>,
        limit: Duration,
        watch: &mut dyn Watch,
    ) -> Result<Option<End>> {
        let started = Instant::now();
        loop {
            let next = match lines.recv_timeout(TICK) {
                Ok((stream, line)) => {
                    self.keep(stream, &line)?;
                    watch.line(stream, &line)
                }
                Err(RecvTimeoutError::Timeout) => Next::GoOn,
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            };
            if next == Next::End || watch.tick() == Next::End {
                return Ok(Some(End::Stopped));
            }
            if started.elapsed() > limit {
                return Ok(Some(End::TimedOut(limit)));
            }
        }
    }

    fn keep(&mut self, stream: Stream, line: &str) -> Result<()> {
        writeln!(self.log, "{line}").context("cannot write a log")?;
        if self.shown.is_some_and(|shown| shown != stream) {
            return Ok(());
        }
        if self.verbosity == Verbosity::Everything {
            eprintln!("    | {line}");
        }
        if self.tail.len() == SHOWN {
            self.tail.pop_front();
        }
        self.tail.push_back(line.to_owned());
        Ok(())
    }
}
