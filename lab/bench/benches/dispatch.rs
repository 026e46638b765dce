// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a call costs the host outside KVM_RUN, by criterion.

use criterion::{BenchmarkId, Criterion};
use hcall_abi::{HypercallNumber, Transport};
use hcall_bench::replay::{foreign, host, Replay};
use std::hint::black_box;

/// How many handlers there are.
const HANDLERS: [u16; 3] = [10, 1_000, 10_000];

fn replay(
    criterion: &mut Criterion,
    group: &str,
    transport: Transport,
    number: fn(u16) -> HypercallNumber,
) {
    let mut group = criterion.benchmark_group(group);
    for handlers in HANDLERS {
        let host = host((0..handlers).map(number));
        let called = number(handlers / 2);
        let mut calls = host.vcpu_calls(0);
        let mut replay = Replay::new(transport, called);
        let id = BenchmarkId::from_parameter(handlers);
        group.bench_function(id, |bencher| {
            bencher.iter(|| replay.answer(black_box(&mut calls), called));
        });
    }
    group.finish();
}

/// Every number in turn: what one number leaves in caches and predictors serves no other.
fn sweep(criterion: &mut Criterion, group: &str, number: fn(u16) -> HypercallNumber) {
    let mut group = criterion.benchmark_group(group);
    for handlers in HANDLERS {
        let host = host((0..handlers).map(number));
        let mut calls = host.vcpu_calls(0);
        let mut replay = Replay::new(Transport::Port, number(0));
        let mut next = 0_u16;
        let id = BenchmarkId::from_parameter(handlers);
        group.bench_function(id, |bencher| {
            bencher.iter(|| {
                // A step that shares no factor with any of the counts.
                next = ((u32::from(next) + 7) % u32::from(handlers)) as u16;
                replay.answer(black_box(&mut calls), number(next));
            });
        });
    }
    group.finish();
}

fn main() {
    let criterion = &mut Criterion::default().configure_from_args();
    let user = HypercallNumber::user;
    replay(criterion, "instruction", Transport::Instruction, user);
    replay(criterion, "carrier", Transport::Carrier, user);
    replay(criterion, "port", Transport::Port, user);
    replay(criterion, "foreign number", Transport::Instruction, foreign);
    sweep(criterion, "every number in turn", user);
    sweep(criterion, "every foreign number in turn", foreign);
    criterion.final_summary();
}
