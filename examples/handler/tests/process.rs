// SPDX-License-Identifier: MIT OR Apache-2.0
//! The examples as they are used: a process listens, a host connects, a guest's calls are put
//! together by hand. The process is then stopped, continued, and killed.

#[path = "../../../vmm-host/tests/host/fake_vcpu.rs"]
#[allow(dead_code, reason = "the library's own tests need more of it")]
mod fake_vcpu;

use fake_vcpu::{call, host};
use hcall_vmm::extend::external::ExternalHandler;
use hcall_vmm::{HypercallHost, HypercallNumber};
use rustix::process::{kill_process, waitpid, Pid, Signal, WaitOptions};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const NUMBER: HypercallNumber = HypercallNumber::user(1);
const LIMIT: Duration = Duration::from_secs(1);
/// How long a process may take to listen.
const START_LIMIT: Duration = Duration::from_secs(30);
const GPA: u64 = 0x100;
const EIO: i64 = -5;
const ETIMEDOUT: i64 = -110;

/// A handler's process, killed with the test.
struct Process {
    child: Child,
    socket: PathBuf,
}

impl Process {
    fn start(name: &str, mut command: Command) -> Self {
        let socket = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_file(&socket);
        let child = command.arg(&socket).spawn().expect("the process starts");
        Self { child, socket }
    }

    fn connect(&mut self) -> UnixStream {
        let start = Instant::now();
        loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => return stream,
                Err(error) if start.elapsed() > START_LIMIT => panic!("{error}"),
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
            let ended = self.child.try_wait().expect("our child");
            assert_eq!(ended, None, "the handler's process has ended");
        }
    }

    fn send(&self, signal: Signal) {
        let process = Pid::from_raw(self.child.id() as i32).expect("a process");
        kill_process(process, signal).expect("our child");
    }
}

impl Process {
    /// Returns when all of its threads stand still: the signal alone is there before that.
    fn stop(&self) {
        self.send(Signal::STOP);
        let process = Pid::from_raw(self.child.id() as i32).expect("a process");
        let (_, status) = waitpid(Some(process), WaitOptions::UNTRACED)
            .expect("our child")
            .expect("it was waited for");
        assert!(status.stopped());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Guest {
    host: HypercallHost,
    memory: GuestMemoryMmap,
}

impl Guest {
    fn new(process: &mut Process) -> Self {
        let (host, memory) = host();
        let handler = ExternalHandler::new(process.connect(), NUMBER, START_LIMIT.min(LIMIT * 4))
            .expect("a greeting");
        host.hypercalls()
            .register(NUMBER, handler.into_handler())
            .expect("the number is free");
        Self { host, memory }
    }

    /// What becomes of a text, and the answer.
    fn shout(&self, text: &str) -> (i64, String) {
        let length = text.len() as u64;
        self.memory
            .write_slice(text.as_bytes(), GuestAddress(GPA))
            .expect("it fits");
        let answer = call(&self.host, NUMBER.get(), [GPA, length, 0, 0]);
        let mut bytes = vec![0; text.len()];
        self.memory
            .read_slice(&mut bytes, GuestAddress(GPA))
            .expect("it is there");
        (answer, String::from_utf8(bytes).expect("ASCII"))
    }
}

/// The frame of one of the vectors for implementers.
fn vector(name: &str) -> Vec<u8> {
    let vectors = include_str!("../../../vmm-host/vectors/handler-protocol.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).expect("JSON");
    let vectors = vectors["vectors"].as_array().expect("a list");
    let found = vectors.iter().find(|vector| vector["name"] == name);
    let frame = found.expect(name)["frame"].as_str().expect("a frame");
    let byte = |place| u8::from_str_radix(&frame[place..place + 2], 16).expect("hex");
    (0..frame.len()).step_by(2).map(byte).collect()
}

/// Byte by byte what the vectors say.
fn keeps_to_the_vectors(stream: &mut UnixStream) {
    for (said, answered) in [
        ("hello", "example, welcome"),
        ("example, request", "example, answer"),
    ] {
        stream.write_all(&vector(said)).expect("it reads");
        let expected = vector(answered);
        let mut bytes = vec![0; expected.len()];
        stream.read_exact(&mut bytes).expect("it answers");
        assert_eq!(bytes, expected, "{answered}");
    }
}

fn is_what_it_says(mut process: Process) {
    keeps_to_the_vectors(&mut process.connect());
    let guest = Guest::new(&mut process);
    assert_eq!(guest.shout("Hello, World"), (8, "HELLO, WORLD".into()));
    assert_eq!(guest.shout(""), (0, String::new()));
    let long = "x".repeat(4096);
    assert_eq!(guest.shout(&long), (4096, long.to_uppercase()));
    assert_eq!(call(&guest.host, NUMBER.get(), [GPA, 4097, 0, 0]), -90);
    for round in 0..1000 {
        let text = format!("round {round}");
        assert_eq!(guest.shout(&text), (5, text.to_uppercase()));
    }
    // Another VM, or another number, at the same time.
    let other = Guest::new(&mut process);
    assert_eq!(other.shout("b"), (1, "B".into()));
    assert_eq!(guest.shout("a"), (1, "A".into()));

    process.stop();
    let start = Instant::now();
    assert_eq!(guest.shout("stopped").0, ETIMEDOUT);
    assert!(start.elapsed() >= LIMIT);
    process.send(Signal::CONT);
    assert_eq!(guest.shout("it goes on"), (8, "IT GOES ON".into()));

    // Killed while it has a call: the guest does not wait until the limit.
    process.stop();
    thread::scope(|scope| {
        let caller = scope.spawn(|| guest.shout("never"));
        thread::sleep(LIMIT / 8);
        assert!(!caller.is_finished());
        let start = Instant::now();
        process.send(Signal::KILL);
        assert_eq!(caller.join().expect("no panic").0, EIO);
        println!("an error {:?} after SIGKILL", start.elapsed());
    });
    assert_eq!(guest.shout("gone").0, EIO);
    assert_eq!(other.shout("gone").0, EIO);
}

#[test]
fn the_example_in_rust() {
    let command = Command::new(env!("CARGO_BIN_EXE_shout"));
    is_what_it_says(Process::start("shout.socket", command));
}

#[test]
#[cfg_attr(not(python3), ignore = "python3 is not installed")]
fn the_example_in_python() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../handler.py");
    let mut command = Command::new("python3");
    command.arg(script);
    is_what_it_says(Process::start("python.socket", command));
}

/// It stays as long as a person reads at a glance, and needs nothing but Python.
#[test]
fn the_example_in_python_is_short() {
    let script = include_str!("../../handler.py");
    let code = script
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert!(code.count() <= 30);
    let imports: Vec<&str> = script
        .lines()
        .filter(|line| line.starts_with("import") || line.starts_with("from"))
        .collect();
    assert_eq!(
        imports,
        [
            "import socket",
            "import struct",
            "import sys",
            "import threading"
        ]
    );
}
