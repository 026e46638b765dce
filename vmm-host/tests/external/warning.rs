// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a person is told when a handler dies: once, and enough to put another in its place.

use crate::fake_vcpu::{call, host};
use crate::peer::{Peer, LONG};
use hcall_abi::HypercallNumber;
use hcall_vmm::extend::external::ExternalHandler;
use std::fmt::Debug;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// No other test's.
const NUMBER: HypercallNumber = HypercallNumber::user(0x7a);

/// Keeps the warnings of all threads: it is the receiving thread that warns.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!("{}={value:?} ", field.name()));
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn it_names_the_number_the_socket_the_reason_and_the_remedy() {
    let warnings = Warnings::default();
    tracing::subscriber::set_global_default(warnings.clone()).expect("no other test sets one");
    let path = std::env::temp_dir().join(format!("hcall-gone-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let peer = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let ranges = Default::default();
        let mut peer = Peer { stream, ranges };
        peer.greet();
        peer.next().unwrap();
    });
    let stream = UnixStream::connect(&path).unwrap();
    let handler = ExternalHandler::new(stream, NUMBER, LONG).unwrap();
    let (host, _memory) = host();
    let table = host.hypercalls();
    table.register(NUMBER, handler.into_handler()).unwrap();
    for _ in 0..3 {
        assert_eq!(call(&host, NUMBER.get(), [0; 4]), -5);
    }
    peer.join().unwrap();
    std::fs::remove_file(&path).unwrap();

    let of_ours = || -> Vec<String> {
        let lines = warnings.0.lock().unwrap();
        let ours = lines.iter().filter(|line| line.contains("0x4843807a"));
        ours.cloned().collect()
    };
    let start = Instant::now();
    while of_ours().is_empty() && start.elapsed() < LONG {
        thread::sleep(Duration::from_millis(1));
    }
    let lines = of_ours();
    let [line] = &lines[..] else {
        panic!("{lines:?}");
    };
    for part in [
        "-EIO",
        "closed the connection",
        "hcall-vmm ctl PATH replace 0x4843807a=unix:SOCKET",
        &format!("socket={path:?}"),
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
}
