// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers that a plugin in C puts off: what becomes of them, and for how long it stays loaded
//! for their sake.

use crate::building::{build_c, is_mapped, load, place};
use crate::fake_vcpu::{call, host, FakeVcpu};
use hcall_abi::batch::BatchEntry;
use hcall_abi::number::BATCH;
use hcall_vmm::core_calls::CoreServices;
use hcall_vmm::{
    Disposition, Errno, HypercallHost, HypercallNumber, PendingAnswer, StopReason, Transport,
};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use vm_memory::{Bytes, GuestAddress};

const SOURCE: &str = "vmm-host/tests/plugin/context.c";

const DEFER: HypercallNumber = HypercallNumber::user(0x300);
const ANSWER: HypercallNumber = HypercallNumber::user(0x301);
const AWAITED: HypercallNumber = HypercallNumber::user(0x302);
const LATER: HypercallNumber = HypercallNumber::user(0x303);
const MISUSE: HypercallNumber = HypercallNumber::user(0x306);
const SLOT: HypercallNumber = HypercallNumber::user(0x307);

/// For what must not happen, and for what must.
const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(20);

fn errno(errno: Errno) -> i64 {
    -i64::from(errno.get())
}

/// A plugin of one's own: what is put off is kept where all of its handlers find it.
fn host_with_plugin() -> HypercallHost {
    static OBJECT: OnceLock<PathBuf> = OnceLock::new();
    let (host, _memory) = host();
    register(&host, OBJECT.get_or_init(|| build_c(SOURCE, &["-pthread"])));
    host
}

fn register(host: &HypercallHost, object: &Path) {
    let plugin = load(object);
    plugin
        .register(host.hypercalls())
        .expect("the numbers are free");
}

/// Makes a call whose answer is put off.
#[track_caller]
fn wait(host: &HypercallHost, number: HypercallNumber, arguments: [u64; 4]) -> Waiting<'_> {
    let mut vcpu = FakeVcpu::new();
    vcpu.trap(number.get().into(), arguments);
    match host.dispatch(&mut vcpu, 0, Transport::Instruction) {
        Disposition::Wait(pending) => Waiting {
            host,
            vcpu,
            pending,
        },
        other => panic!("{other:?}"),
    }
}

/// A vCPU that waits for its answer.
struct Waiting<'a> {
    host: &'a HypercallHost,
    vcpu: FakeVcpu,
    pending: PendingAnswer,
}

impl Waiting<'_> {
    /// What the guest has at last.
    #[track_caller]
    fn answer(mut self) -> i64 {
        let ready = self.pending.wait_timeout(LONG).expect("it is answered");
        self.host.complete(&mut self.vcpu, ready);
        self.vcpu.answer()
    }
}

#[test]
fn the_later_answer_reaches_the_guest() {
    let host = host_with_plugin();
    for (slot, result, due) in [
        (0, 0, 0),
        (1, i64::MAX, i64::MAX),
        (2, -1, errno(Errno::EPERM)),
        (3, -1000, errno(Errno::ENOSYS)),
        // What is no result.
        (0, -4096, errno(Errno::EIO)),
        (1, i64::MIN + 1, errno(Errno::EIO)),
        (2, i64::MIN, errno(Errno::EIO)),
    ] {
        let waiting = wait(&host, DEFER, [slot, 99, 0, 0]);
        assert!(!waiting.pending.is_ready());
        assert_eq!(call(&host, AWAITED.get(), [slot, 0, 0, 0]), 1);
        let answered = call(&host, ANSWER.get(), [slot, result as u64, 0, 0]);
        assert_eq!(answered, 0, "{result:#x}");
        assert_eq!(waiting.answer(), due, "{result:#x}");
    }
    let stats = host.counters().read();
    assert_eq!((stats.failed, stats.panicked), (5, 0));
}

#[test]
fn a_second_answer_is_refused() {
    let host = host_with_plugin();
    let first = wait(&host, DEFER, [0; 4]);
    assert_eq!(call(&host, ANSWER.get(), [0, 1, 0, 0]), 0);
    let second = wait(&host, DEFER, [1, 0, 0, 0]);
    for slot in [0, 2] {
        for number in [ANSWER, AWAITED] {
            let answered = call(&host, number.get(), [slot, 2, 0, 0]);
            assert_eq!(answered, errno(Errno::EINVAL), "slot {slot}");
        }
    }
    assert_eq!(first.answer(), 1);
    assert!(!second.pending.is_ready());
    assert_eq!(call(&host, ANSWER.get(), [1, 3, 0, 0]), 0);
    assert_eq!(second.answer(), 3);
}

#[test]
fn what_another_plugin_owes_is_not_its_own_to_answer() {
    let (first, second) = (host_with_plugin(), host_with_plugin());
    let waiting = wait(&first, DEFER, [0; 4]);
    let deferred = call(&first, SLOT.get(), [0; 4]);
    assert!(deferred > 0);
    assert_eq!(
        call(&second, SLOT.get(), [0, 1, deferred as u64, 0]),
        deferred
    );
    for number in [ANSWER, AWAITED] {
        let answered = call(&second, number.get(), [0, 2, 0, 0]);
        assert_eq!(answered, errno(Errno::EINVAL));
    }
    assert!(!waiting.pending.is_ready());
    assert_eq!(call(&first, ANSWER.get(), [0, 1, 0, 0]), 0);
    assert_eq!(waiting.answer(), 1);
}

#[test]
fn what_no_answer_is_owed_for_is_refused() {
    let host = host_with_plugin();
    for (what, due) in [
        (4, Errno::EFAULT),
        (5, Errno::EFAULT),
        (6, Errno::EFAULT),
        (7, Errno::EFAULT),
        (8, Errno::EINVAL),
        (9, Errno::EINVAL),
        (10, Errno::EINVAL),
    ] {
        let answer = call(&host, MISUSE.get(), [what, 0, 0, 0]);
        assert_eq!(answer, errno(due), "{what}");
    }
}

/// Whatever the handler returns but a payload is the answer, and nobody waits for another.
#[test]
fn a_handler_that_fails_after_it_has_deferred() {
    let host = host_with_plugin();
    for (value, due) in [
        (-1, errno(Errno::EPERM)),
        (-5000, errno(Errno::EIO)),
        (i64::MIN, errno(Errno::EIO)),
    ] {
        let answer = call(&host, DEFER.get(), [0, value as u64, 0, 0]);
        assert_eq!(answer, due, "{value:#x}");
        assert_eq!(call(&host, AWAITED.get(), [0; 4]), 0);
        assert_eq!(call(&host, ANSWER.get(), [0, 7, 0, 0]), 0);
    }
    // A second time, and after it has asked for the end of the VM.
    assert_eq!(call(&host, DEFER.get(), [0, 0, 2, 0]), errno(Errno::EBUSY));
    let mut vcpu = FakeVcpu::new();
    vcpu.trap(DEFER.get().into(), [0, 0, 1, 0]);
    let disposition = host.dispatch(&mut vcpu, 0, Transport::Instruction);
    assert_eq!(disposition, Disposition::Stop(StopReason::Exit(1)));
    assert_eq!(vcpu.answer(), errno(Errno::EBUSY));
}

#[test]
fn entries_of_a_batch_cannot_be_deferred() {
    let (host, memory) = host();
    let host = host.with_core_calls(CoreServices {
        console: Box::new(std::io::sink()),
        tsc_khz: None,
        memory_bytes: 0,
        vcpu_count: 1,
    });
    register(&host, &build_c(SOURCE, &["-pthread"]));
    let entry = BatchEntry::new(DEFER, [0; 4]);
    memory
        .write_slice(&entry.to_bytes(), GuestAddress(0x1000))
        .unwrap();
    assert_eq!(call(&host, BATCH.get(), [0x1000, 1, 0, 0]), 1);
    let mut bytes = [0; size_of::<BatchEntry>()];
    memory.read_slice(&mut bytes, GuestAddress(0x1000)).unwrap();
    assert_eq!(
        BatchEntry::from_bytes(&bytes).result,
        errno(Errno::EOPNOTSUPP)
    );
}

/// A plugin that makes the returned file when it is destroyed.
fn plugin_that_tells() -> (PathBuf, PathBuf) {
    let destroyed = place("destroyed");
    let definition = format!("-DDESTROYED=\"{}\"", destroyed.display());
    (build_c(SOURCE, &["-pthread", &definition]), destroyed)
}

fn remove_all(host: &HypercallHost) {
    for number in (0x300..=0x307).map(HypercallNumber::user) {
        host.hypercalls().remove(number).expect("it is there");
    }
}

/// Its own thread answers, and goes on for a little while after that.
#[test]
fn who_waits_keeps_the_plugin() {
    let (object, destroyed) = plugin_that_tells();
    let (host, _memory) = host();
    register(&host, &object);
    let waiting = wait(&host, LATER, [300, 42, 0, 0]);
    remove_all(&host);
    assert_eq!(call(&host, ANSWER.get(), [0; 4]), errno(Errno::ENOSYS));
    assert!(is_mapped(&object) && !destroyed.exists());
    assert_eq!(waiting.answer(), 42);
    assert!(destroyed.exists() && !is_mapped(&object));
}

/// The VM has ended: nobody waits any more, and the plugin ends though its thread has not
/// answered yet. That one's answer goes nowhere.
#[test]
fn nobody_who_waits_keeps_no_plugin() {
    let (object, destroyed) = plugin_that_tells();
    let (host, _memory) = host();
    register(&host, &object);
    let waiting = wait(&host, LATER, [600_000, 42, 0, 0]);
    remove_all(&host);
    assert!(is_mapped(&object));
    let start = Instant::now();
    drop(waiting);
    assert!(start.elapsed() < LONG);
    assert!(destroyed.exists() && !is_mapped(&object));
}

/// The vCPU waits for as long as it is let, and what has not been answered at the plugin's end
/// need not be.
#[test]
fn what_is_never_answered() {
    let (object, destroyed) = plugin_that_tells();
    let (host, _memory) = host();
    register(&host, &object);
    let waiting = wait(&host, DEFER, [0; 4]);
    remove_all(&host);
    let pending = waiting.pending.wait_timeout(SHORT).expect_err("no answer");
    assert!(is_mapped(&object) && !destroyed.exists());
    drop(pending);
    assert!(destroyed.exists() && !is_mapped(&object));
}
