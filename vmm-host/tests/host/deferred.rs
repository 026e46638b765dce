// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers that come later: over every transport, from other threads, and those that never come.

use crate::fake_vcpu::{host, FakeVcpu};
use hcall_abi::batch::BatchEntry;
use hcall_abi::number::BATCH;
use hcall_abi::{Errno, HypercallNumber, Transport};
use hcall_vmm::core_calls::CoreServices;
use hcall_vmm::{Deferred, Disposition, HypercallHost, Mode, PendingAnswer};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{channel, Receiver};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use vm_memory::{Bytes, GuestAddress};

const LATER: HypercallNumber = HypercallNumber::user(1);

/// For what must not happen, and for what must.
const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(20);

fn errno(errno: Errno) -> i64 {
    -i64::from(errno.get())
}

/// Registers `LATER`, whose answers are given by the test.
fn register(host: &HypercallHost) -> Receiver<Deferred> {
    let (deferred, taken) = channel();
    host.hypercalls()
        .register(LATER, move |call| {
            deferred.send(call.defer()?).map_err(|_| Errno::EIO)?;
            Ok(0)
        })
        .expect("the number is free");
    taken
}

fn trap(vcpu: &mut FakeVcpu, transport: Transport) {
    let arguments = [1, 2, 3, 4];
    match transport {
        Transport::Instruction => vcpu.trap(LATER.get().into(), arguments),
        Transport::Carrier => vcpu.carry(LATER.get(), arguments),
        _ => vcpu.out(LATER.get().into(), arguments),
    }
}

fn pending(disposition: Disposition) -> PendingAnswer {
    match disposition {
        Disposition::Wait(pending) => pending,
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_thread_answers_over_every_transport() {
    let (host, _memory) = host();
    let taken = register(&host);
    for transport in Transport::ALL {
        let mut vcpu = FakeVcpu::new();
        let mut calls = host.vcpu_calls(5);
        trap(&mut vcpu, transport);
        let pending = pending(calls.dispatch(&mut vcpu, transport));
        assert_eq!(pending.vcpu_id(), 5);
        assert!(!pending.is_ready());
        let pending = pending
            .wait_timeout(SHORT)
            .expect_err("nobody has answered");
        let deferred = taken.recv().expect("it was deferred");
        assert!(deferred.is_awaited());
        let answer = thread::scope(|scope| {
            scope.spawn(move || {
                thread::sleep(SHORT);
                deferred.answer(Ok(1 << 40));
            });
            pending.wait_timeout(LONG).expect("it was answered")
        });
        calls.complete(&mut vcpu, answer);
        assert_eq!(vcpu.answer(), 1 << 40, "{transport}");
    }
    let stats = host.counters().read();
    assert_eq!((stats.calls, stats.failed), (3, 0));
}

#[test]
fn a_vcpu_that_is_run_without_the_answer_has_an_error() {
    let (host, _memory) = host();
    let _taken = register(&host);
    for transport in Transport::ALL {
        let mut vcpu = FakeVcpu::new();
        trap(&mut vcpu, transport);
        drop(pending(host.dispatch(&mut vcpu, 0, transport)));
        assert_eq!(vcpu.answer(), errno(Errno::EIO));
    }
}

#[test]
fn what_is_dropped_unanswered_fails() {
    let (host, _memory) = host();
    let taken = register(&host);
    let mut vcpu = FakeVcpu::new();
    trap(&mut vcpu, Transport::Instruction);
    let pending = pending(host.dispatch(&mut vcpu, 0, Transport::Instruction));
    drop(taken.recv().expect("it was deferred"));
    host.complete(&mut vcpu, pending.try_ready().expect("it was dropped"));
    assert_eq!(vcpu.answer(), errno(Errno::EIO));
    assert_eq!(host.counters().read().failed, 1);
}

#[test]
fn errors_are_counted_when_they_are_put_in_place() {
    let (host, _memory) = host();
    let taken = register(&host);
    let mut vcpu = FakeVcpu::new();
    trap(&mut vcpu, Transport::Port);
    let pending = pending(host.dispatch(&mut vcpu, 0, Transport::Port));
    taken
        .recv()
        .expect("it was deferred")
        .answer(Err(Errno::ENOENT));
    assert_eq!(host.counters().read().failed, 0);
    host.complete(&mut vcpu, pending.wait());
    assert_eq!(vcpu.answer(), errno(Errno::ENOENT));
    assert_eq!(host.counters().read().failed, 1);
}

#[test]
fn callers_in_32_bit_mode_get_32_bit_results() {
    let (host, _memory) = host();
    let taken = register(&host);
    for transport in [Transport::Instruction, Transport::Port] {
        for (payload, due) in [
            (0x7fff_ffff, 0x7fff_ffff),
            (0x8000_0000, errno(Errno::EOVERFLOW)),
        ] {
            let mut vcpu = FakeVcpu::new();
            vcpu.mode = Some(Mode::Bits32);
            match transport {
                Transport::Instruction => vcpu.trap_32(LATER.get().into(), [0; 4]),
                _ => vcpu.out(LATER.get().into(), [0; 4]),
            }
            let pending = pending(host.dispatch(&mut vcpu, 0, transport));
            taken.recv().expect("it was deferred").answer(Ok(payload));
            host.complete(&mut vcpu, pending.wait());
            assert_eq!(vcpu.answer(), due, "{transport}, {payload:#x}");
        }
    }
}

#[test]
fn a_handler_that_fails_after_it_deferred_answers_itself() {
    let (host, _memory) = host();
    let (deferred, taken) = channel();
    host.hypercalls()
        .register(LATER, move |call| {
            deferred.send(call.defer()?).map_err(|_| Errno::EIO)?;
            match call.arg::<0>() {
                0 => Err(Errno::ENOSPC),
                _ => panic!("on purpose"),
            }
        })
        .expect("the number is free");
    for (argument, due) in [(0, Errno::ENOSPC), (1, Errno::EIO)] {
        let mut vcpu = FakeVcpu::new();
        vcpu.trap(LATER.get().into(), [argument, 0, 0, 0]);
        let disposition = host.dispatch(&mut vcpu, 0, Transport::Instruction);
        assert_eq!(disposition, Disposition::Resume);
        assert_eq!(vcpu.answer(), errno(due));
        let deferred = taken.recv().expect("it was deferred");
        assert!(!deferred.is_awaited());
        deferred.answer(Ok(3));
        assert_eq!(vcpu.answer(), errno(due));
    }
    let stats = host.counters().read();
    assert_eq!((stats.failed, stats.panicked), (1, 1));
}

#[test]
fn a_call_is_deferred_once_and_not_beside_an_end() {
    let (host, _memory) = host();
    host.hypercalls()
        .register(LATER, |call| {
            if call.arg::<0>() == 0 {
                call.request_exit(1);
            } else {
                let _answers_with_an_error = call.defer()?;
            }
            Err(call.defer().expect_err("one request is enough"))
        })
        .expect("the number is free");
    let mut vcpu = FakeVcpu::new();
    for argument in [0, 1] {
        vcpu.trap(LATER.get().into(), [argument, 0, 0, 0]);
        let disposition = host.dispatch(&mut vcpu, 0, Transport::Instruction);
        assert_eq!(disposition == Disposition::Resume, argument == 1);
        assert_eq!(vcpu.answer(), errno(Errno::EBUSY));
    }
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
    let taken = register(&host);
    let entry = BatchEntry::new(LATER, [0; 4]).to_bytes();
    memory.write_slice(&entry, GuestAddress(0)).unwrap();
    let mut vcpu = FakeVcpu::new();
    vcpu.trap(BATCH.get().into(), [0, 1, 0, 0]);
    let disposition = host.dispatch(&mut vcpu, 0, Transport::Instruction);
    assert_eq!(disposition, Disposition::Resume);
    assert_eq!(vcpu.answer(), 1);
    let mut answered = [0; size_of::<BatchEntry>()];
    memory.read_slice(&mut answered, GuestAddress(0)).unwrap();
    let result = BatchEntry::from_bytes(&answered).result;
    assert_eq!(result, errno(Errno::EOPNOTSUPP));
    assert!(taken.try_recv().is_err());
}

#[test]
fn whoever_asked_is_notified_once() {
    let (host, _memory) = host();
    let taken = register(&host);
    let mut vcpu = FakeVcpu::new();
    let notified = Arc::new(AtomicU32::new(0));
    let note = |value| {
        let notified = Arc::clone(&notified);
        move || _ = notified.fetch_add(value, Ordering::Relaxed)
    };
    trap(&mut vcpu, Transport::Instruction);
    let pending = pending(host.dispatch(&mut vcpu, 0, Transport::Instruction));
    pending.notify(note(1));
    pending.notify(note(10));
    assert_eq!(notified.load(Ordering::Relaxed), 0);
    taken.recv().expect("it was deferred").answer(Ok(7));
    assert_eq!(notified.load(Ordering::Relaxed), 10, "the second took over");
    pending.notify(note(100));
    assert_eq!(notified.load(Ordering::Relaxed), 110, "it is there already");
    host.complete(&mut vcpu, pending.try_ready().expect("it is there"));
    assert_eq!(vcpu.answer(), 7);
}

#[test]
#[should_panic(expected = "the vCPU that made the call")]
fn an_answer_is_for_one_vcpu() {
    let (host, _memory) = host();
    let taken = register(&host);
    let mut vcpu = FakeVcpu::new();
    trap(&mut vcpu, Transport::Instruction);
    let pending = pending(host.dispatch(&mut vcpu, 1, Transport::Instruction));
    taken.recv().expect("it was deferred").answer(Ok(7));
    host.vcpu_calls(2).complete(&mut vcpu, pending.wait());
}
