// SPDX-License-Identifier: MIT OR Apache-2.0
//! A handler's process, from its start to its end.

use rustix::process::{kill_process, Pid, Signal};
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long it may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Killed when it is dropped.
pub(super) struct HandlerProcess {
    child: Child,
    output: BufReader<ChildStdout>,
    socket: PathBuf,
}

impl HandlerProcess {
    /// Starts `program SOCKET ARGUMENTS`.
    pub(super) fn start(program: &Path, arguments: &[&str]) -> Result<Self, String> {
        let name = format!("handler-{}-{}", std::process::id(), arguments.concat());
        let socket = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&socket);
        let mut child = Command::new(program)
            .arg(&socket)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
        let output = child.stdout.take().ok_or("no standard output")?;
        let process = Self {
            child,
            output: BufReader::new(output),
            socket,
        };
        process.connect()?;
        Ok(process)
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// A new connection; waits until the process listens.
    pub(super) fn connect(&self) -> Result<UnixStream, String> {
        let start = Instant::now();
        loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => return Ok(stream),
                Err(error) if start.elapsed() > START_LIMIT => {
                    return Err(format!("{}: {error}", self.socket.display()));
                }
                Err(_) => thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// The next line that it says.
    pub(super) fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .map_err(|error| error.to_string())?;
        Ok(line.trim_end().to_owned())
    }

    /// Ends it; how many calls it has answered.
    pub(super) fn finish(mut self) -> Result<u64, String> {
        drop(self.child.stdin.take());
        let line = self.line()?;
        line.strip_prefix("answered ")
            .and_then(|count| count.parse().ok())
            .ok_or_else(|| format!("the handler's process said: {line}"))
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) -> Result<(), String> {
        self.child.kill().map_err(|error| error.to_string())
    }

    /// What kills it while another thread waits for what it says. Only as long as it is there.
    pub(super) fn killer(&self) -> Result<Killer, String> {
        let process = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        process.map(Killer).ok_or("no such process".into())
    }
}

/// See [`HandlerProcess::killer`].
pub(super) struct Killer(Pid);

impl Killer {
    pub(super) fn kill(&self) {
        // It fails only where the process has ended.
        let _ = kill_process(self.0, Signal::KILL);
    }
}

impl Drop for HandlerProcess {
    fn drop(&mut self) {
        // It fails only where the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}
