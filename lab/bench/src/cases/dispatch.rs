// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the host spends on a call outside KVM_RUN, and that it does not depend on how
//! many handlers there are. `cargo bench --package hcall-bench` has the details.

use super::{is_emulated, Outcome, Setting};
use crate::samples::{interleave, least};
use hcall_abi::{HypercallNumber, Transport};
use hcall_bench::replay::{foreign, host, Replay};
use hcall_measurement::{Measurement, Unit};
use hcall_vmm::HypercallHost;
use std::hint::black_box;

/// The number of handlers whose cost the others' are compared with.
const USUAL: u16 = 1_000;
const OTHERS: [u16; 2] = [10, 10_000];
const ROUNDS: usize = 400;
const CALLS: u32 = 1_000;

/// The promise is 50 ns. Where a test runs the processor may be slow, shared with others, or
/// emulated, so what fails there is a cost that no such reason explains.
const LIMIT_NANOSECONDS: f64 = 150.0;
const LIMIT_NANOSECONDS_EMULATED: f64 = 1_500.0;
/// The cost may differ by a tenth; the other twentieth is what this measurement may err by.
const LIMIT_RATIO: f64 = 1.15;
/// On an emulated processor it differs from run to run with where the tables lie in memory:
/// 1.0 to 1.22 was seen.
const LIMIT_RATIO_EMULATED: f64 = 1.5;

/// A host and a call to it.
struct Variant {
    host: HypercallHost,
    replay: Replay,
    number: HypercallNumber,
}

impl Variant {
    fn new(handlers: u16, number: fn(u16) -> HypercallNumber) -> Self {
        let called = number(handlers / 2);
        Self {
            host: host((0..handlers).map(number)),
            replay: Replay::new(Transport::Instruction, called),
            number: called,
        }
    }

    fn make_calls(&mut self) {
        let mut calls = self.host.vcpu_calls(0);
        for _ in 0..CALLS {
            self.replay.answer(black_box(&mut calls), self.number);
        }
    }
}

pub(crate) fn measure(setting: &Setting) -> Result<Outcome, String> {
    if let Some(outcome) = setting.no_clock() {
        return Ok(outcome);
    }
    let mut measurements = Vec::new();
    for (kind, number) in [
        ("user number", HypercallNumber::user as fn(u16) -> _),
        ("foreign number", foreign),
    ] {
        measurements.extend(measure_kind(kind, number)?);
    }
    Ok(Outcome::Measured(measurements))
}

fn measure_kind(
    kind: &str,
    number: fn(u16) -> HypercallNumber,
) -> Result<Vec<Measurement>, String> {
    let handlers = [USUAL].into_iter().chain(OTHERS);
    let mut variants: Vec<Variant> = handlers.map(|count| Variant::new(count, number)).collect();
    let times = interleave(ROUNDS, &mut variants, |variant| {
        variant.make_calls();
        Ok(())
    })?;
    let per_call = |times: &Vec<f64>| least(times) / f64::from(CALLS);
    let usual = times.first().map_or(f64::NAN, per_call);
    let (limit, limit_ratio) = if is_emulated() {
        (LIMIT_NANOSECONDS_EMULATED, LIMIT_RATIO_EMULATED)
    } else {
        (LIMIT_NANOSECONDS, LIMIT_RATIO)
    };
    let name = format!("host outside KVM_RUN/{kind}, {USUAL} handlers (least)");
    let mut measurements = vec![Measurement::new(name, usual, Unit::Nanoseconds).at_most(limit)];
    for (count, times) in OTHERS.iter().zip(&times[1..]) {
        let name = format!("host outside KVM_RUN/{kind}, {count} handlers against {USUAL}");
        let ratio = per_call(times) / usual;
        measurements.push(Measurement::new(name, ratio, Unit::Ratio).at_most(limit_ratio));
    }
    Ok(measurements)
}
