// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a call costs the host outside KVM_RUN, by criterion, with few handlers and with many.
//!
//! The hosts with different numbers of handlers take turns within each sample, whichever of
//! them is measured: what else the machine does meanwhile slows down all of them, and does
//! not pass for a difference.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};
use hcall_abi::{HypercallNumber, Transport};
use hcall_bench::replay::{foreign, host, Replay};
use hcall_vmm::{HypercallHost, VcpuCalls};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// How many handlers there are.
const HANDLERS: [u16; 3] = [10, 1_000, 10_000];

/// Calls of a turn: enough that looking at the clock does not show, and few enough that a turn
/// ends before the machine turns to something else.
const TURN: u64 = 1_000;

/// Makes so many calls.
trait MakeCalls {
    fn make_calls(&mut self, count: u64);
}

/// Calls one number.
struct One<'host> {
    calls: VcpuCalls<'host>,
    replay: Replay,
    number: HypercallNumber,
}

impl MakeCalls for One<'_> {
    fn make_calls(&mut self, count: u64) {
        for _ in 0..count {
            self.replay.answer(black_box(&mut self.calls), self.number);
        }
    }
}

/// Calls every number in turn: what one number leaves in caches and predictors serves no other.
struct Every<'host> {
    calls: VcpuCalls<'host>,
    replay: Replay,
    number: fn(u16) -> HypercallNumber,
    handlers: u16,
    next: u16,
}

impl MakeCalls for Every<'_> {
    fn make_calls(&mut self, count: u64) {
        for _ in 0..count {
            // A step that shares no factor with any of the counts.
            self.next = ((u32::from(self.next) + 7) % u32::from(self.handlers)) as u16;
            let number = (self.number)(self.next);
            self.replay.answer(black_box(&mut self.calls), number);
        }
    }
}

/// What `count` calls to the variant `measured` take, while all of them take turns.
fn time_one(variants: &mut [impl MakeCalls], measured: usize, count: u64) -> Duration {
    let mut time = Duration::ZERO;
    let mut left = count;
    while left > 0 {
        let turn = left.min(TURN);
        for (index, variant) in variants.iter_mut().enumerate() {
            let start = Instant::now();
            variant.make_calls(turn);
            if index == measured {
                time += start.elapsed();
            }
        }
        left -= turn;
    }
    time
}

fn measure(mut group: BenchmarkGroup<'_, WallTime>, mut variants: Vec<impl MakeCalls>) {
    for (index, handlers) in HANDLERS.into_iter().enumerate() {
        group.bench_function(BenchmarkId::from_parameter(handlers), |bencher| {
            bencher.iter_custom(|count| time_one(&mut variants, index, count));
        });
    }
    group.finish();
}

fn hosts(number: fn(u16) -> HypercallNumber) -> [HypercallHost; HANDLERS.len()] {
    HANDLERS.map(|handlers| host((0..handlers).map(number)))
}

fn replay(
    criterion: &mut Criterion,
    group: &str,
    transport: Transport,
    number: fn(u16) -> HypercallNumber,
) {
    let hosts = hosts(number);
    let variants = HANDLERS.iter().zip(&hosts).map(|(handlers, host)| {
        let number = number(handlers / 2);
        One {
            calls: host.vcpu_calls(0),
            replay: Replay::new(transport, number),
            number,
        }
    });
    measure(criterion.benchmark_group(group), variants.collect());
}

fn sweep(criterion: &mut Criterion, group: &str, number: fn(u16) -> HypercallNumber) {
    let hosts = hosts(number);
    let variants = HANDLERS.iter().zip(&hosts).map(|(handlers, host)| Every {
        calls: host.vcpu_calls(0),
        replay: Replay::new(Transport::Port, number(0)),
        number,
        handlers: *handlers,
        next: 0,
    });
    measure(criterion.benchmark_group(group), variants.collect());
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
