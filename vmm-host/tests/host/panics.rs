// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers that panic: what their call costs, and what the VM.

use crate::fake_vcpu::{call, host, FakeVcpu};
use hcall_abi::batch::BatchEntry;
use hcall_abi::number::BATCH;
use hcall_abi::{Errno, HypercallNumber, Transport};
use hcall_vmm::core_calls::CoreServices;
use hcall_vmm::{Disposition, HypercallHost, PanicPolicy, StopReason};
use std::panic::panic_any;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const PANICS: HypercallNumber = HypercallNumber::user(1);
const ANSWERS: HypercallNumber = HypercallNumber::user(2);
const EIO: i64 = -(Errno::EIO.get() as i64);

/// A host whose handler of [`PANICS`] does, in the way of its first argument.
fn panicking(policy: PanicPolicy) -> (HypercallHost, GuestMemoryMmap) {
    let (host, memory) = host();
    let host = host
        .with_panic_policy(policy)
        .with_core_calls(CoreServices {
            console: Box::new(std::io::sink()),
            tsc_khz: None,
            memory_bytes: 0,
            vcpu_count: 1,
        });
    host.hypercalls()
        .register(PANICS, |call| match call.arg::<0>() {
            0 => panic!("on purpose"),
            1 => panic!("with {}", 2),
            2 => panic_any(3_u8),
            3 => panic_any(PanicsWhenDropped),
            _ => {
                call.request_exit(9);
                panic!("after all")
            }
        })
        .unwrap();
    host.hypercalls().register(ANSWERS, |_| Ok(5)).unwrap();
    (host, memory)
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic_any(PanicsAgain);
    }
}

struct PanicsAgain;

impl Drop for PanicsAgain {
    fn drop(&mut self) {
        panic!("and again");
    }
}

fn dispatch(
    host: &HypercallHost,
    number: HypercallNumber,
    arguments: [u64; 4],
) -> (i64, Disposition) {
    let mut vcpu = FakeVcpu::new();
    vcpu.trap(number.get().into(), arguments);
    let disposition = host.dispatch(&mut vcpu, 0, Transport::Instruction);
    (vcpu.answer(), disposition)
}

fn stop(message: &str) -> Disposition {
    Disposition::Stop(StopReason::HandlerPanicked {
        number: PANICS,
        message: message.into(),
    })
}

#[test]
fn as_it_is_by_default_the_vm_goes_on() {
    let (host, _memory) = panicking(PanicPolicy::default());
    for argument in 0..5 {
        // Not even what the handler asked for before: it did not return.
        assert_eq!(call(&host, PANICS.get(), [argument, 0, 0, 0]), EIO);
        assert_eq!(call(&host, ANSWERS.get(), [0; 4]), 5);
    }
    assert_eq!(host.counters().read().panicked, 5);
}

#[test]
fn where_it_is_wanted_the_vm_ends_with_the_message() {
    let (host, _memory) = panicking(PanicPolicy::EndVm);
    for (argument, message) in [
        (0, "on purpose"),
        (1, "with 2"),
        (2, "a value that is no text"),
        (3, "a value that is no text"),
        (4, "after all"),
    ] {
        let ended = dispatch(&host, PANICS, [argument, 0, 0, 0]);
        assert_eq!(ended, (EIO, stop(message)));
    }
    assert_eq!(dispatch(&host, ANSWERS, [0; 4]), (5, Disposition::Resume));
    assert_eq!(host.counters().read().panicked, 5);
}

/// Answers to a batch of a handler that answers, one that panics, and the first again.
fn batch(policy: PanicPolicy) -> (Vec<i64>, (i64, Disposition)) {
    let (host, memory) = panicking(policy);
    let place = |index: u64| GuestAddress(index * size_of::<BatchEntry>() as u64);
    for (index, number) in (0..).zip([ANSWERS, PANICS, ANSWERS]) {
        let entry = BatchEntry::new(number, [0; 4]);
        memory.write_slice(&entry.to_bytes(), place(index)).unwrap();
    }
    let ended = dispatch(&host, BATCH, [0, 3, 0, 0]);
    let results = (0..3).map(|index| {
        let mut bytes = [0; size_of::<BatchEntry>()];
        memory.read_slice(&mut bytes, place(index)).unwrap();
        BatchEntry::from_bytes(&bytes).result
    });
    (results.collect(), ended)
}

#[test]
fn an_entry_of_a_batch_fails_alone_or_ends_the_vm() {
    let (results, ended) = batch(PanicPolicy::Answer);
    assert_eq!(results, [5, EIO, 5]);
    assert_eq!(ended, (3, Disposition::Resume));

    let (results, ended) = batch(PanicPolicy::EndVm);
    assert_eq!(results[..2], [5, EIO]);
    assert_ne!(results[2], 5, "nothing is called after the end");
    assert_eq!(ended, (2, stop("on purpose")));
}
