// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a handler over a socket takes of this process, and that it gives it back. One test, in
//! a process of its own: others would change what is counted.

#[path = "host/fake_vcpu.rs"]
#[allow(dead_code, reason = "the other tests of the library need more of it")]
mod fake_vcpu;
#[path = "external/peer.rs"]
#[allow(dead_code, reason = "the other tests of handlers need more of it")]
mod peer;

use hcall_vmm::extend::external::ExternalError;
use peer::{connect, fixture, Fixture, LONG, NUMBER, SHORT};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use std::fs::{read_dir, read_to_string, File};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

/// How long the receiving thread may take to end.
const ENDING_LIMIT: Duration = Duration::from_secs(20);
const EMFILE: i32 = 24;

#[test]
fn what_is_taken_is_given_back() {
    dropped_handlers_leave_nothing_behind();
    a_call_under_way_is_answered_by_the_handler_that_was_removed();
    an_idle_handler_costs_no_processor_time();
    without_descriptors_there_is_no_new_handler_and_the_old_one_works();
}

fn adding(limit: Duration) -> Fixture {
    fixture(&[], limit, |mut peer| peer.add())
}

fn count(directory: &str) -> usize {
    read_dir(directory).expect("procfs is there").count()
}

/// Descriptors and threads of this process.
fn taken() -> (usize, usize) {
    (count("/proc/self/fd"), count("/proc/self/task"))
}

fn wait_until_taken_is(expected: (usize, usize)) {
    let start = Instant::now();
    while taken() != expected {
        assert!(
            start.elapsed() < ENDING_LIMIT,
            "{:?}, not {expected:?}",
            taken()
        );
        thread::sleep(Duration::from_millis(5));
    }
}

fn dropped_handlers_leave_nothing_behind() {
    let before = taken();
    for _ in 0..100 {
        let fixture = adding(LONG);
        assert_eq!(fixture.call([1, 2, 0, 0]), 3);
        fixture.end();
        // Gone before it is dropped, and replaced.
        let fixture = self::fixture(&[], LONG, drop);
        assert_eq!(fixture.call([0; 4]), -5);
        let (other, peer) = connect(&[], LONG, |mut peer| {
            peer.greet();
            peer.add();
        });
        let other = other.unwrap().into_handler();
        fixture.host.hypercalls().replace(NUMBER, other).unwrap();
        assert_eq!(fixture.call([3, 4, 0, 0]), 7);
        fixture.end();
        peer.join().unwrap();
        // No handler at all.
        let (refused, peer) = connect(&[], LONG, drop);
        refused.unwrap_err();
        peer.join().unwrap();
    }
    wait_until_taken_is(before);
}

fn a_call_under_way_is_answered_by_the_handler_that_was_removed() {
    let before = taken();
    let (asked, is_asked) = std::sync::mpsc::channel();
    let (removed, is_removed) = std::sync::mpsc::channel::<()>();
    let fixture = fixture(&[], LONG, move |mut peer| {
        let call = peer.next().unwrap();
        asked.send(()).unwrap();
        is_removed.recv().unwrap();
        peer.answer(call.id, Ok(11));
        assert!(peer.next().is_none());
    });
    thread::scope(|scope| {
        let calling = scope.spawn(|| fixture.call([0; 4]));
        is_asked.recv().unwrap();
        fixture.host.hypercalls().remove(NUMBER).unwrap();
        assert_eq!(fixture.call([0; 4]), -38);
        removed.send(()).unwrap();
        assert_eq!(calling.join().unwrap(), 11);
    });
    fixture.peer.join().unwrap();
    drop(fixture.host);
    wait_until_taken_is(before);
}

/// Clock ticks that this process's threads have run, and how often they have slept.
fn effort() -> (u64, u64) {
    let mut sleeps = 0;
    let mut ticks = 0;
    for task in read_dir("/proc/self/task").expect("procfs is there") {
        let path = task.expect("a thread").path();
        let status = read_to_string(path.join("status")).unwrap_or_default();
        // Not the others, which only say that the machine is busy.
        let switches = status
            .lines()
            .filter_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sleeps += switches
            .filter_map(|count| count.trim().parse::<u64>().ok())
            .sum::<u64>();
        let stat = read_to_string(path.join("stat")).unwrap_or_default();
        let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
        let fields = fields.split_whitespace().skip(11).take(2);
        ticks += fields
            .filter_map(|field| field.parse::<u64>().ok())
            .sum::<u64>();
    }
    (ticks, sleeps)
}

fn an_idle_handler_costs_no_processor_time() {
    let fixture = adding(SHORT);
    assert_eq!(fixture.call([1, 1, 0, 0]), 2);
    // After the call's limit nothing is left to wake for.
    thread::sleep(SHORT * 2);
    let (ticks, sleeps) = effort();
    thread::sleep(SHORT * 5);
    let (ticks, sleeps) = (effort().0 - ticks, effort().1 - sleeps);
    // This thread's own sleep is one or two, and reading the figures may be as much.
    assert!(ticks <= 1 && sleeps <= 10, "{ticks} ticks, {sleeps} sleeps");
    fixture.end();
}

fn without_descriptors_there_is_no_new_handler_and_the_old_one_works() {
    let fixture = adding(LONG);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let before = getrlimit(Resource::Nofile);
    // One is left for the test's own looks.
    let fewer = Rlimit {
        current: Some(count("/proc/self/fd") as u64 + 8),
        maximum: before.maximum,
    };
    setrlimit(Resource::Nofile, fewer).unwrap();
    let mut all = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        all.push(file);
    }
    // The other end greets before it is asked to: nobody needs a descriptor for that.
    let welcome = hcall_vmm::extend::external::protocol::Welcome {
        ranges: Default::default(),
    };
    std::io::Write::write_all(&mut &theirs, &welcome.encode()).unwrap();
    let error = hcall_vmm::extend::external::ExternalHandler::new(ours, NUMBER, LONG);
    match error.unwrap_err() {
        ExternalError::System { source, .. } => assert_eq!(source.raw_os_error(), Some(EMFILE)),
        other => panic!("{other}"),
    }
    assert_eq!(fixture.call([20, 22, 0, 0]), 42);
    drop(all);
    setrlimit(Resource::Nofile, before).unwrap();
    fixture.end();
}
