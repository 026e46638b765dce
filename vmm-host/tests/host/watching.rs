// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts and latencies of each number, where the host watches.

use crate::fake_vcpu::{call, host, FakeVcpu};
use hcall_abi::batch::BatchEntry;
use hcall_abi::number::{BATCH, ECHO};
use hcall_abi::{Errno, HypercallNumber, Transport};
use hcall_vmm::core_calls::CoreServices;
use hcall_vmm::watch::{NumberStats, StatsTable};
use hcall_vmm::{Deferred, Disposition, HypercallHost};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const SLOW: HypercallNumber = HypercallNumber::user(1);
const MIXED: HypercallNumber = HypercallNumber::user(2);
const PAUSE: Duration = Duration::from_millis(5);

fn watching() -> (HypercallHost, GuestMemoryMmap) {
    let (host, memory) = host();
    let host = host.with_watching().with_core_calls(CoreServices {
        console: Box::new(std::io::sink()),
        tsc_khz: None,
        memory_bytes: 0,
        vcpu_count: 1,
    });
    (host, memory)
}

fn of(host: &HypercallHost, number: HypercallNumber) -> NumberStats {
    let report = host.watch().expect("it watches").report();
    let mut found = report.into_iter();
    found
        .find(|stats| stats.number() == number)
        .unwrap_or_else(|| panic!("{number} was never called"))
}

#[test]
fn each_number_has_its_own_counts_and_times() {
    let (host, _memory) = watching();
    let table = host.hypercalls();
    table
        .register(SLOW, |_| {
            thread::sleep(PAUSE);
            Ok(0)
        })
        .unwrap();
    table
        .register(MIXED, |call| match call.arg::<0>() {
            0 => Ok(0),
            1 => Err(Errno::EBUSY),
            2 => Ok(u64::MAX),
            _ => panic!("on purpose"),
        })
        .unwrap();
    assert!(host.watch().expect("it watches").report().is_empty());
    for _ in 0..3 {
        call(&host, SLOW.get(), [0; 4]);
    }
    for argument in [0, 0, 0, 0, 1, 1, 2, 3] {
        call(&host, MIXED.get(), [argument, 0, 0, 0]);
    }
    // No handler's.
    call(&host, HypercallNumber::user(3).get(), [0; 4]);

    let slow = of(&host, SLOW);
    assert_eq!((slow.calls(), slow.failed(), slow.panicked()), (3, 0, 0));
    // Times are exact to a hundredth.
    assert!(slow.latency(0.5) >= PAUSE.mul_f64(0.99), "{slow:?}");
    assert!(slow.longest() >= slow.latency(0.5));
    assert!(slow.total() >= 3 * PAUSE, "{slow:?}");
    assert_eq!(slow.calls_within(PAUSE / 2), 0);
    assert_eq!(slow.calls_within(Duration::from_secs(3600)), 3);

    let mixed = of(&host, MIXED);
    assert_eq!((mixed.calls(), mixed.failed(), mixed.panicked()), (8, 3, 1));
    let stats = host.counters().read();
    // What an answer of 2^63 or more fails by is not the handler's errno.
    assert_eq!((stats.calls, stats.unknown, stats.panicked), (12, 1, 1));
    assert_eq!(stats.failed, 2);

    let report = host.watch().expect("it watches").report();
    let table = StatsTable(&report).to_string();
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.lines().all(|line| line.len() < 100), "{table}");
}

#[test]
fn a_number_goes_on_counting_with_another_handler() {
    let (host, _memory) = watching();
    let table = host.hypercalls();
    table.register(SLOW, |_| Ok(1)).unwrap();
    call(&host, SLOW.get(), [0; 4]);
    table.replace(SLOW, |_| Ok(2)).unwrap();
    call(&host, SLOW.get(), [0; 4]);
    table.remove(SLOW).unwrap();
    call(&host, SLOW.get(), [0; 4]);
    table.register(SLOW, |_| Err(Errno::EIO)).unwrap();
    call(&host, SLOW.get(), [0; 4]);
    let stats = of(&host, SLOW);
    assert_eq!((stats.calls(), stats.failed()), (3, 1));
}

#[test]
fn entries_of_a_batch_count_under_their_own_numbers() {
    let (host, memory) = watching();
    host.hypercalls().register(MIXED, |_| Ok(0)).unwrap();
    for (index, number) in (0..).zip([ECHO, MIXED, ECHO]) {
        let entry = BatchEntry::new(number, [0; 4]);
        let place = GuestAddress(index * size_of::<BatchEntry>() as u64);
        memory.write_slice(&entry.to_bytes(), place).unwrap();
    }
    assert_eq!(call(&host, BATCH.get(), [0, 3, 0, 0]), 3);
    assert_eq!(of(&host, ECHO).calls(), 2);
    assert_eq!(of(&host, MIXED).calls(), 1);
    let batch = of(&host, BATCH);
    assert_eq!(batch.calls(), 1);
    assert!(batch.total() >= of(&host, ECHO).total());
}

#[test]
fn vcpus_record_at_once_and_nothing_is_lost() {
    const CALLS: u64 = 2_000;
    let (host, _memory) = watching();
    host.hypercalls().register(MIXED, |_| Ok(0)).unwrap();
    thread::scope(|scope| {
        for id in 0..8 {
            let host = &host;
            scope.spawn(move || {
                for _ in 0..CALLS {
                    let mut vcpu = FakeVcpu::new();
                    vcpu.trap(MIXED.get().into(), [0; 4]);
                    let disposition = host.dispatch(&mut vcpu, id, Transport::Instruction);
                    assert_eq!(disposition, Disposition::Resume);
                }
            });
        }
        // Read while it is written.
        let mut seen = 0;
        while seen < 8 * CALLS {
            let report = host.watch().expect("it watches").report();
            let now = report.first().map_or(0, NumberStats::calls);
            assert!(now >= seen, "counts do not go back");
            seen = now;
        }
    });
    assert_eq!(of(&host, MIXED).calls(), 8 * CALLS);
}

#[test]
fn a_call_whose_answer_is_deferred_takes_until_it_is_there() {
    let (host, _memory) = watching();
    let deferred = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&deferred);
    host.hypercalls()
        .register(MIXED, move |call| {
            *kept.lock().unwrap() = Some(call.defer()?);
            Ok(0)
        })
        .unwrap();
    for result in [Ok(3), Err(Errno::EIO)] {
        let mut vcpu = FakeVcpu::new();
        vcpu.trap(MIXED.get().into(), [0; 4]);
        let disposition = host.dispatch(&mut vcpu, 0, Transport::Instruction);
        let Disposition::Wait(pending) = disposition else {
            panic!("{disposition:?}");
        };
        thread::sleep(PAUSE);
        deferred.lock().unwrap().take().unwrap().answer(result);
        host.complete(&mut vcpu, pending.wait());
    }
    let stats = of(&host, MIXED);
    assert_eq!((stats.calls(), stats.failed()), (2, 1));
    assert!(stats.total() >= 2 * PAUSE);
}

#[test]
fn a_deferred_call_is_counted_once_and_when_it_ends() {
    let (host, _memory) = watching();
    let (deferred, taken) = channel::<Deferred>();
    host.hypercalls()
        .register(MIXED, move |call| {
            deferred.send(call.defer()?).map_err(|_| Errno::EIO)?;
            Ok(0)
        })
        .unwrap();
    let mut vcpu = FakeVcpu::new();
    let mut call = || {
        vcpu.trap(MIXED.get().into(), [0; 4]);
        let disposition = host.dispatch(&mut vcpu, 0, Transport::Instruction);
        let Disposition::Wait(pending) = disposition else {
            panic!("{disposition:?}");
        };
        (pending, taken.recv().unwrap())
    };
    let count = || host.watch().expect("it watches").report().len();

    // Never answered, as where the VM ends before: it is in no count.
    drop(call());
    let (pending, deferred) = call();
    assert_eq!(count(), 0, "it has not ended");
    // Dropped, which is -EIO.
    drop(deferred);
    let ready = pending.wait();
    assert_eq!(count(), 0, "the guest does not have it yet");
    host.complete(&mut FakeVcpu::new(), ready);
    let (pending, deferred) = call();
    deferred.answer(Err(Errno::ENOENT));
    host.complete(&mut FakeVcpu::new(), pending.wait());
    let (pending, deferred) = call();
    deferred.answer(Ok(1));
    host.complete(&mut FakeVcpu::new(), pending.wait());

    let stats = of(&host, MIXED);
    assert_eq!((stats.calls(), stats.failed(), stats.panicked()), (3, 2, 0));
    // The VM's counters count a call when it comes, and a failure when it is told.
    let counters = host.counters().read();
    assert_eq!((counters.calls, counters.failed), (4, 2));
}

#[test]
fn a_host_that_does_not_watch_has_nothing_to_tell() {
    let (host, _memory) = host();
    assert!(host.watch().is_none());
}

#[test]
#[should_panic(expected = "from the first registration on")]
fn handlers_that_are_there_would_go_unwatched() {
    let (host, _memory) = host();
    host.hypercalls().register(MIXED, |_| Ok(0)).unwrap();
    let _ = host.with_watching();
}
