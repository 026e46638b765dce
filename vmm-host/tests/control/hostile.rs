// SPDX-License-Identifier: MIT OR Apache-2.0
//! What clients that mean harm, or are broken, get: a refusal or the end of the connection,
//! while others are served.

use crate::vm::{TestVm, LIMIT, NUMBER};
use hcall_vmm::extend::control::protocol::{Command, REQUEST_LIMIT};
use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::{Duration, Instant};

fn send(stream: &UnixStream, line: &str, descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(32))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    let bytes = [IoSlice::new(line.as_bytes())];
    let sent = sendmsg(stream, &bytes, &mut control, SendFlags::NOSIGNAL);
    assert_eq!(sent, Ok(line.len()));
}

fn add(source: &str) -> String {
    let source = source.parse().expect("a source");
    let number = Some(NUMBER);
    Command::Add { number, source }.to_line()
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("/proc").count()
}

#[test]
fn garbage_is_refused_and_the_connection_goes_on() {
    let vm = TestVm::new();
    let mut raw = vm.connect();
    for line in [
        &b"\n"[..],
        b"hello\n",
        b"\0\xff\xfe\n",
        b"{\n",
        b"{}\n",
        b"\"\\ud800\"\n",
        b"[[[[[[[[[[[[[[[[[[[[\n",
        b"{\"version\":1,\"command\":\"list\",\"number\":1e400}\n",
    ] {
        raw.say(line);
        assert_eq!(raw.hear_refusal(), "request");
    }
    raw.say(b"{\"version\":7,\"command\":\"list\"}\n");
    assert_eq!(raw.hear_refusal(), "version");
    raw.say(b"{\"version\":1,\"command\":\"format-the-disk\"}\n");
    assert_eq!(raw.hear_refusal(), "command");
    raw.say(b"{\"version\":1,\"command\":\"remove\",\"number\":12}\n");
    assert_eq!(raw.hear_refusal(), "number");
    raw.say(Command::Stats.to_line().as_bytes());
    assert_eq!(raw.hear().expect("an answer")["result"]["state"], "running");
}

#[test]
fn half_a_line_and_silence_ends_after_a_while() {
    let vm = TestVm::new();
    let mut silent = vm.connect();
    silent.say(b"{\"version\":1,");
    let start = Instant::now();
    vm.assert_alive();
    assert!(silent.hear().is_none(), "no answer to half a line");
    assert!(start.elapsed() < LIMIT);
    vm.assert_alive();
}

/// A line of a GiB, as far as the VM reads it.
#[test]
fn an_endless_line_is_not_kept() {
    let vm = TestVm::new();
    let raw = vm.connect();
    let chunk = vec![b'{'; 1 << 20];
    let written = (0..1024)
        .take_while(|_| match raw.stream().write_all(&chunk) {
            Ok(()) => true,
            Err(error) => {
                let kind = error.kind();
                assert!(
                    [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&kind),
                    "{error}"
                );
                false
            }
        })
        .count();
    // What the kernel buffers, and not what the VM does.
    assert!(written < 8, "{written} MiB were taken");
    vm.assert_alive();
    let mut raw = vm.connect();
    raw.say(&vec![b' '; REQUEST_LIMIT + 1]);
    assert_eq!(raw.hear_refusal(), "too-much");
    assert!(raw.hear().is_none());
}

#[test]
fn a_thousand_connections_leave_room_for_one_more() {
    let vm = TestVm::new();
    let before = open_descriptors();
    let mut crowd = Vec::new();
    let mut others = 0;
    for _ in 0..1000 {
        // Not waited for: the kernel's queue is short, and full.
        let socket = rustix::net::socket_with(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC,
            None,
        );
        let Ok(socket) = socket else { break };
        let address = rustix::net::SocketAddrUnix::new(&vm.path).expect("a short name");
        match rustix::net::connect(&socket, &address) {
            Ok(()) => crowd.push(socket),
            Err(_) => others += 1,
        }
    }
    assert!(crowd.len() >= 16, "{} connected, {others} not", crowd.len());
    // The VM has taken a few of them, and none of the others' descriptors.
    assert!(open_descriptors() - before <= 1000 + 16 + 8);
    let start = Instant::now();
    vm.assert_alive();
    assert!(start.elapsed() < LIMIT);
    drop(crowd);
    vm.assert_alive();
}

#[test]
fn who_does_not_read_his_answers_is_dropped() {
    let vm = TestVm::new();
    let raw = vm.connect();
    raw.stream()
        .set_write_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    // More requests than the answers' buffers hold; then the VM reads no more of them.
    let lines = Command::List.to_line().repeat(1000);
    let refused = (0..1000).any(|_| raw.stream().write_all(lines.as_bytes()).is_err());
    assert!(refused, "the VM reads without end");
    vm.assert_alive();
    // Nor is it kept for ever.
    let start = Instant::now();
    while raw.stream().write_all(b"\n").map_err(|error| error.kind()) != Err(ErrorKind::BrokenPipe)
    {
        assert!(start.elapsed() < LIMIT);
    }
}

#[test]
fn descriptors_must_be_what_the_request_says() {
    let vm = TestVm::new();
    let file = File::open("/proc/self/exe").expect("this program");
    let directory = File::open("/").expect("a directory");
    let write_only = OpenOptions::new().write(true).open("/dev/null").unwrap();
    let null = File::open("/dev/null").expect("a device");
    let (stream, _peer) = UnixStream::pair().expect("a pair");
    let datagram = UnixDatagram::unbound().expect("a socket");
    let listening = vm.path.with_extension("listener");
    let listener = UnixListener::bind(&listening).expect("a listener");
    fs::remove_file(&listening).expect("it is there");
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let unix = add("unix:/x");
    let plugin = add("plugin:/x");
    for (line, descriptor) in [
        (&unix, file.as_fd()),
        (&unix, datagram.as_fd()),
        (&unix, listener.as_fd()),
        (&unix, tcp.as_fd()),
        (&plugin, directory.as_fd()),
        (&plugin, write_only.as_fd()),
        (&plugin, null.as_fd()),
        (&plugin, stream.as_fd()),
    ] {
        let mut raw = vm.connect();
        send(raw.stream(), line, &[descriptor]);
        assert_eq!(raw.hear_refusal(), "descriptor-wrong", "{line}");
    }
    for line in [&unix, &plugin] {
        let mut raw = vm.connect();
        raw.say(line.as_bytes());
        assert_eq!(raw.hear_refusal(), "descriptor-missing", "{line}");
    }
    for line in [Command::List.to_line(), add("value:1")] {
        let mut raw = vm.connect();
        send(raw.stream(), &line, &[file.as_fd()]);
        assert_eq!(raw.hear_refusal(), "descriptor-needless", "{line}");
    }
    assert!(!vm.host.hypercalls().contains(NUMBER));
}

#[test]
fn descriptors_are_not_hoarded() {
    let vm = TestVm::new();
    let file = File::open("/dev/null").expect("a device");
    vm.assert_alive();
    let before = open_descriptors();
    for count in [2, 4, 5, 32] {
        let mut raw = vm.connect();
        send(raw.stream(), &add("unix:/x"), &vec![file.as_fd(); count]);
        assert_eq!(raw.hear_refusal(), "too-much", "{count} descriptors");
        assert!(raw.hear().is_none());
    }
    // One with each byte of a line that never ends.
    let raw = vm.connect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    for _ in 0..100 {
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = [file.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let bytes = [IoSlice::new(b"{")];
        if sendmsg(raw.stream(), &bytes, &mut control, SendFlags::NOSIGNAL).is_err() {
            break;
        }
    }
    let mut rest = Vec::new();
    // A refusal or a reset, but an end.
    let _ = raw.stream().read_to_end(&mut rest);
    drop(raw);
    vm.assert_alive();
    let start = Instant::now();
    while open_descriptors() > before + 1 {
        assert!(start.elapsed() < LIMIT, "descriptors stay open");
        std::thread::yield_now();
    }
}

/// A handler's process that says nothing holds others up for its time limit only.
#[test]
fn a_silent_process_is_no_handler() {
    let vm = TestVm::new();
    let (ours, _theirs) = UnixStream::pair().expect("a pair");
    let mut raw = vm.connect();
    send(raw.stream(), &add("unix:/x"), &[ours.as_fd()]);
    let start = Instant::now();
    vm.assert_alive();
    assert_eq!(raw.hear_refusal(), "not-installed");
    assert!(start.elapsed() < LIMIT);
    assert!(!vm.host.hypercalls().contains(NUMBER));
}
