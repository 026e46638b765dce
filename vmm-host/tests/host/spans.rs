// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls as spans of `tracing`, where the host makes them such, and nothing where it does not.

use crate::fake_vcpu::{call, finish, host, FakeVcpu};
use crate::subscriber::{spans_of, Fields, SeenSpan};
use hcall_abi::batch::BatchEntry;
use hcall_abi::number::{BATCH, ECHO};
use hcall_abi::{Errno, HypercallNumber, Transport};
use hcall_vmm::core_calls::CoreServices;
use hcall_vmm::{Deferred, Disposition, HypercallHost};
use std::sync::mpsc::channel;
use tracing::Level;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const MIXED: HypercallNumber = HypercallNumber::user(1);
const LATER: HypercallNumber = HypercallNumber::user(2);

/// Registers the core calls, and one that answers, fails or panics as its argument says.
fn prepare(host: HypercallHost) -> HypercallHost {
    let host = host.with_core_calls(CoreServices {
        console: Box::new(std::io::sink()),
        tsc_khz: None,
        memory_bytes: 0,
        vcpu_count: 1,
    });
    host.hypercalls()
        .register(MIXED, |call| match call.arg::<0>() {
            0 => Ok(7),
            1 => Err(Errno::EBUSY),
            _ => panic!("on purpose"),
        })
        .unwrap();
    host
}

fn traced() -> (HypercallHost, GuestMemoryMmap) {
    let (host, memory) = host();
    (prepare(host.with_call_spans()), memory)
}

/// What `span` has to be for a call of `number` from vCPU `vcpu` over `transport`.
#[track_caller]
fn expect_call(span: &SeenSpan, number: HypercallNumber, vcpu: u32, transport: Transport) {
    assert_eq!((span.name, span.level), ("hypercall", Level::TRACE));
    let origin = format!("Vcpu {{ id: {vcpu}, transport: {transport:?} }}");
    let due = [("number", number.to_string()), ("origin", origin)];
    assert_eq!(span.fields, Fields::from(due));
    assert_eq!(span.holders, 0, "it has ended");
}

/// What was said in a span at level TRACE: messages, and their one field.
fn said(span: &SeenSpan) -> Vec<String> {
    let of_calls = span
        .events
        .iter()
        .filter(|(level, _)| *level == Level::TRACE);
    of_calls
        .map(|(_, fields)| {
            let values = fields.iter().map(|(name, value)| match *name {
                "message" => value.clone(),
                name => format!("{name}={value}"),
            });
            values.collect::<Vec<_>>().join(" ")
        })
        .collect()
}

#[test]
fn each_call_is_a_span_with_its_arguments_and_its_answer() {
    let (host, _memory) = traced();
    let spans = spans_of(|| {
        let mut vcpu = FakeVcpu::new();
        vcpu.trap(ECHO.get().into(), [99, 1, 2, u64::MAX]);
        assert_eq!(
            host.dispatch(&mut vcpu, 3, Transport::Instruction),
            Disposition::Resume
        );
        vcpu.carry(MIXED.get(), [0; 4]);
        assert_eq!(
            host.dispatch(&mut vcpu, 0, Transport::Carrier),
            Disposition::Resume
        );
        vcpu.out(MIXED.get().into(), [1, 0, 0, 0]);
        assert_eq!(
            host.dispatch(&mut vcpu, 70, Transport::Port),
            Disposition::Resume
        );
    });
    let [echo, good, bad] = &spans[..] else {
        panic!("{spans:?}");
    };
    expect_call(echo, ECHO, 3, Transport::Instruction);
    expect_call(good, MIXED, 0, Transport::Carrier);
    expect_call(bad, MIXED, 70, Transport::Port);
    let arguments = format!("arguments=[99, 1, 2, {}] called", u64::MAX);
    assert_eq!(said(echo), [&arguments, "answer=99 answered"]);
    assert_eq!(
        said(good),
        ["arguments=[0, 0, 0, 0] called", "answer=7 answered"]
    );
    assert_eq!(
        said(bad),
        ["arguments=[1, 0, 0, 0] called", "answer=-16 answered"]
    );
    assert!(spans.iter().all(|span| span.parent.is_none()));
}

#[test]
fn a_panic_is_told_in_the_span_of_its_call() {
    let (host, _memory) = traced();
    let spans = spans_of(|| assert_eq!(call(&host, MIXED.get(), [2, 0, 0, 0]), -5));
    let [span] = &spans[..] else {
        panic!("{spans:?}");
    };
    expect_call(span, MIXED, 0, Transport::Instruction);
    assert_eq!(said(span)[1], "answer=-5 answered");
    let told = [
        ("message", "the handler of a hypercall panicked".to_owned()),
        ("number", MIXED.to_string()),
        ("said", "\"on purpose\"".to_owned()),
    ];
    assert_eq!(span.events[1], (Level::ERROR, Fields::from(told)));
}

/// Refused, or for a number that nobody has: nothing but the dispatch has seen them.
#[test]
fn calls_that_come_to_no_handler_are_no_spans() {
    let (host, _memory) = traced();
    let spans = spans_of(|| {
        assert_eq!(call(&host, HypercallNumber::user(9).get(), [0; 4]), -38);
        let mut vcpu = FakeVcpu::new();
        vcpu.cpl = 3;
        vcpu.trap(MIXED.get().into(), [0; 4]);
        finish(&host, &mut vcpu, Transport::Instruction);
        assert_eq!(vcpu.answer(), -1);
    });
    assert!(spans.is_empty(), "{spans:?}");
}

#[test]
fn entries_of_a_batch_are_spans_in_its_span() {
    let (host, memory) = traced();
    for (index, argument) in (0..).zip([0, 1]) {
        let entry = BatchEntry::new(MIXED, [argument, 0, 0, 0]);
        let place = GuestAddress(index * size_of::<BatchEntry>() as u64);
        memory.write_slice(&entry.to_bytes(), place).unwrap();
    }
    let spans = spans_of(|| assert_eq!(call(&host, BATCH.get(), [0, 2, 0, 0]), 2));
    let [batch, good, bad] = &spans[..] else {
        panic!("{spans:?}");
    };
    expect_call(batch, BATCH, 0, Transport::Instruction);
    assert_eq!(
        said(batch),
        ["arguments=[0, 2, 0, 0] called", "answer=2 answered"]
    );
    for (entry, answer) in [(good, 7), (bad, -16)] {
        expect_call(entry, MIXED, 0, Transport::Instruction);
        assert_eq!(entry.parent, Some(0));
        assert_eq!(said(entry)[1], format!("answer={answer} answered"));
    }
}

/// Makes three calls whose answers are deferred: one that is answered, one that fails, one that
/// fails before it could be.
fn call_later(host: &HypercallHost) {
    let (deferred, taken) = channel::<Deferred>();
    host.hypercalls()
        .register(LATER, move |call| {
            deferred.send(call.defer()?).map_err(|_| Errno::EIO)?;
            match call.arg::<0>() {
                0 => Ok(0),
                _ => Err(Errno::ENOSPC),
            }
        })
        .unwrap();
    for (argument, result) in [(0, Ok(5)), (0, Err(Errno::ENOENT)), (1, Ok(5))] {
        let mut vcpu = FakeVcpu::new();
        vcpu.trap(LATER.get().into(), [argument, 0, 0, 0]);
        let disposition = host.dispatch(&mut vcpu, 0, Transport::Instruction);
        taken.recv().unwrap().answer(result);
        if let Disposition::Wait(pending) = disposition {
            host.complete(&mut vcpu, pending.wait());
        }
    }
}

const SAID_LATER: [&[&str]; 3] = [
    &[
        "arguments=[0, 0, 0, 0] called",
        "deferred",
        "answer=5 answered",
    ],
    &[
        "arguments=[0, 0, 0, 0] called",
        "deferred",
        "answer=-2 answered",
    ],
    &["arguments=[1, 0, 0, 0] called", "answer=-28 answered"],
];

#[test]
fn a_call_whose_answer_is_deferred_is_a_span_until_it_is_there() {
    let (host, _memory) = traced();
    let spans = spans_of(|| call_later(&host));
    assert_eq!(spans.len(), SAID_LATER.len());
    for (span, due) in spans.iter().zip(SAID_LATER) {
        expect_call(span, LATER, 0, Transport::Instruction);
        assert_eq!(said(span), due);
    }
}

#[cfg(feature = "watch")]
#[test]
fn a_host_can_make_spans_and_watch() {
    let (host, _memory) = host();
    let host = prepare(host.with_watching().with_call_spans());
    let spans = spans_of(|| call_later(&host));
    let seen: Vec<_> = spans.iter().map(said).collect();
    assert_eq!(seen, SAID_LATER);
    let report = host.watch().expect("it watches").report();
    let [stats] = &report[..] else {
        panic!("{report:?}");
    };
    assert_eq!(
        (stats.number(), stats.calls(), stats.failed()),
        (LATER, 3, 2)
    );
}

#[test]
fn a_host_without_spans_makes_none() {
    let (host, memory) = host();
    let host = prepare(host);
    let entry = BatchEntry::new(MIXED, [0; 4]).to_bytes();
    memory.write_slice(&entry, GuestAddress(0)).unwrap();
    let spans = spans_of(|| {
        for argument in 0..3 {
            call(&host, MIXED.get(), [argument, 0, 0, 0]);
        }
        assert_eq!(call(&host, BATCH.get(), [0, 1, 0, 0]), 1);
        call_later(&host);
    });
    assert!(spans.is_empty(), "{spans:?}");
}
