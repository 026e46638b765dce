// SPDX-License-Identifier: MIT OR Apache-2.0
//! The handler's end, under the test's control.

use crate::fake_vcpu::{call, host, MEMORY_SIZE};
use hcall_abi::HypercallNumber;
use hcall_vmm::core_calls::CoreServices;
use hcall_vmm::extend::external::protocol::{
    Answer, Direction, FrameHead, FrameKind, Hello, Length, Range, Ranges, Request, Welcome,
    BODY_BYTES_MAX, HEADER_BYTES,
};
use hcall_vmm::extend::external::{ExternalError, ExternalHandler};
use hcall_vmm::{HypercallHost, HypercallResult};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use vm_memory::GuestMemoryMmap;

pub(crate) const NUMBER: HypercallNumber = HypercallNumber::user(0x42);
/// Long enough that no test meets it by accident.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// A limit that tests do meet.
pub(crate) const SHORT: Duration = Duration::from_millis(200);

/// Argument 0 is the GPA and argument 1 the length of a range of at most `most` bytes.
pub(crate) fn range(direction: Direction, most: u32) -> Range {
    Range {
        address: 0,
        length: Length::Argument { index: 1, most },
        direction,
    }
}

/// The handler's end of a connection.
pub(crate) struct Peer {
    pub(crate) stream: UnixStream,
    pub(crate) ranges: Ranges,
}

/// A request as it came.
pub(crate) struct Asked {
    pub(crate) id: u64,
    body: Vec<u8>,
    ranges: Ranges,
}

impl Asked {
    pub(crate) fn request(&self) -> Request<'_> {
        Request::decode(&self.body, &self.ranges).expect("the VMM speaks the protocol")
    }
}

impl Peer {
    /// The next frame; none at the end of the connection.
    pub(crate) fn receive(&mut self) -> Option<(FrameKind, u64, Vec<u8>)> {
        let mut header = [0; HEADER_BYTES];
        self.stream.read_exact(&mut header).ok()?;
        let head = FrameHead::decode(&header, BODY_BYTES_MAX).expect("a frame");
        let mut body = vec![0; head.length];
        self.stream.read_exact(&mut body).ok()?;
        Some((head.kind, head.id, body))
    }

    pub(crate) fn greet(&mut self) -> Hello {
        let (kind, id, body) = self.receive().expect("the VMM greets");
        assert_eq!((kind, id), (FrameKind::Hello, 0));
        let welcome = Welcome {
            ranges: self.ranges,
        };
        self.send(&welcome.encode());
        Hello::decode(&body).expect("a greeting")
    }

    pub(crate) fn next(&mut self) -> Option<Asked> {
        let (kind, id, body) = self.receive()?;
        assert_eq!(kind, FrameKind::Request);
        Some(Asked {
            id,
            body,
            ranges: self.ranges,
        })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the VMM reads");
    }

    pub(crate) fn answer(&mut self, id: u64, result: HypercallResult) {
        let outputs = [&[][..]; 4];
        self.send(&Answer { result, outputs }.encode(id));
    }

    /// Answers everything with the sum of its first two arguments.
    pub(crate) fn add(&mut self) {
        while let Some(asked) = self.next() {
            let [a, b, ..] = asked.request().arguments;
            self.answer(asked.id, Ok(a + b));
        }
    }
}

/// A host, and the thread that answers its one number.
pub(crate) struct Fixture {
    pub(crate) host: HypercallHost,
    pub(crate) memory: GuestMemoryMmap,
    pub(crate) peer: JoinHandle<()>,
}

impl Fixture {
    /// Calls the number, as vCPU 0 would.
    pub(crate) fn call(&self, arguments: [u64; 4]) -> i64 {
        call(&self.host, NUMBER.get(), arguments)
    }

    /// Removes the handler, and waits for the peer's end.
    pub(crate) fn end(self) {
        self.host.hypercalls().remove(NUMBER).expect("it is there");
        self.peer.join().expect("the peer met what it expected");
    }
}

/// A handler at whose other end `play` is, on a thread of its own.
pub(crate) fn connect(
    ranges: &[Range],
    time_limit: Duration,
    play: impl FnOnce(Peer) + Send + 'static,
) -> (Result<ExternalHandler, ExternalError>, JoinHandle<()>) {
    let (ours, stream) = UnixStream::pair().expect("two sockets");
    let ranges = Ranges::new(ranges).expect("the test's ranges can be had");
    let peer = thread::spawn(move || play(Peer { stream, ranges }));
    (ExternalHandler::new(ours, NUMBER, time_limit), peer)
}

/// The same, greeted, for the number of a host.
pub(crate) fn fixture(
    ranges: &[Range],
    time_limit: Duration,
    play: impl FnOnce(Peer) + Send + 'static,
) -> Fixture {
    let (handler, peer) = connect(ranges, time_limit, |mut peer| {
        peer.greet();
        play(peer);
    });
    let (host, memory) = host();
    let host = host.with_core_calls(CoreServices {
        console: Box::new(std::io::sink()),
        tsc_khz: None,
        memory_bytes: MEMORY_SIZE as u64,
        vcpu_count: 1,
    });
    let handler = handler.expect("the greeting");
    host.hypercalls()
        .register(NUMBER, handler.into_handler())
        .expect("the number is free");
    Fixture { host, memory, peer }
}
