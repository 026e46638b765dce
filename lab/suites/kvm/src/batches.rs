// SPDX-License-Identifier: MIT OR Apache-2.0
//! Batches of unikernels: every answer, and what a call in one costs.

use crate::unikernels::{equal, Setting};
use hcall_abi::Transport;
use hcall_ktap::{CaseResult, Suite, Verdict};
use hcall_lab_contract::{batch_gain, BATCHED_CALLS, BATCH_SIZE, MIX};
use std::path::Path;
use std::sync::atomic::Ordering;

pub(crate) fn add_cases<'a>(
    mut suite: Suite<'a>,
    guests: &Path,
    transport: Transport,
    wanted: bool,
    measure: bool,
) -> Suite<'a> {
    let setting = Setting::new(guests, transport);
    let other = setting.clone();
    suite = suite.case(
        format!("{transport}: batches, every answer and every refusal"),
        move || setting.if_wanted(wanted, answers),
    );
    if measure {
        suite = suite.case(
            format!(
                "{transport}: a call in a batch of {BATCH_SIZE} costs a {}th of one alone",
                batch_gain(transport)
            ),
            move || other.if_wanted(wanted, cost),
        );
    }
    suite
}

fn answers(setting: &Setting) -> CaseResult {
    let run = setting.run_well("batches", "")?;
    equal("console", run.console.as_str(), "the host lives\n")?;
    for (arity, count) in run.record.mixed.iter().enumerate() {
        let count = count.load(Ordering::Relaxed);
        equal(
            &format!("calls of arity {arity} that arrived"),
            count,
            BATCHED_CALLS,
        )?;
    }
    let least = BATCHED_CALLS * MIX.len() as u64;
    if run.stats.calls < least {
        return Err(format!("only {} calls were counted", run.stats.calls));
    }
    Ok(Verdict::Pass)
}

fn cost(setting: &Setting) -> CaseResult {
    let run = setting.run_well("batches", "measure")?;
    let cycles = |name: &str| {
        run.console
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
            .ok_or_else(|| format!("no line {name:?} in:\n{}", run.console))
    };
    let (alone, batched) = (cycles("alone ")?, cycles("batched ")?);
    let gain = alone as f64 / batched as f64;
    println!(
        "# unikernel, {}: {alone} cycles a call alone, {batched} in a batch of {BATCH_SIZE}: \
         1/{gain:.1}",
        setting.transport
    );
    if gain < batch_gain(setting.transport) {
        return Err(format!("only {gain:.1} times cheaper"));
    }
    Ok(Verdict::Pass)
}
