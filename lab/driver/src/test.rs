// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall-lab test` and `hcall-lab suite`: stages in order, and one summary.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{bail, Result};

use crate::fuzzing;
use crate::score::Score;
use crate::stages::{Stage, STAGES};
use crate::suite;
use crate::workshop::Workshop;

/// Runs the stages whose name contains one of `only`, or all.
pub(crate) fn run(workshop: &mut Workshop, only: &[String]) -> Result<ExitCode> {
    let stages: Vec<&Stage> = STAGES
        .iter()
        .filter(|stage| only.is_empty() || only.iter().any(|part| stage.name.contains(part)))
        .collect();
    if stages.is_empty() {
        let names: Vec<&str> = STAGES.iter().map(|stage| stage.name).collect();
        bail!("no such stage; there are: {}", names.join(", "));
    }
    let mut total = Score::default();
    for (index, stage) in stages.iter().enumerate() {
        println!("[{:2}/{}] {}", index + 1, stages.len(), stage.name);
        total.add(timed(stage.name, || (stage.run)(workshop)));
    }
    Ok(sum_up(workshop, &total))
}

/// Runs one suite of the lab.
pub(crate) fn run_suite(workshop: &mut Workshop, name: &str) -> Result<ExitCode> {
    workshop.descriptions.suite(name)?;
    let score = timed(name, || suite::run(workshop, name));
    Ok(sum_up(workshop, &score))
}

/// Runs the fuzz targets for as long as somebody likes.
pub(crate) fn run_fuzzing(
    workshop: &mut Workshop,
    arguments: &fuzzing::Arguments,
) -> Result<ExitCode> {
    let score = timed("fuzzing", || fuzzing::run(workshop, arguments));
    Ok(sum_up(workshop, &score))
}

/// Runs a stage and shows what came of it. One that could not be carried out has failed.
fn timed(name: &str, stage: impl FnOnce() -> Result<Score>) -> Score {
    let started = Instant::now();
    let score = stage().unwrap_or_else(|error| {
        let why = format!("{error:#}").lines().map(str::to_owned).collect();
        Score::failed(name, why)
    });
    for (test, why) in &score.failures {
        println!("        FAILED {test}");
        for line in why {
            println!("          {line}");
        }
    }
    show_skips(&score.skips);
    let seconds = started.elapsed().as_secs_f32();
    println!("        {} ({seconds:.1} s)", score.tally);
    score
}

/// Tests that share a reason share a line.
fn show_skips(skips: &[(String, String)]) {
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (test, why) in skips {
        by_reason.entry(why).or_default().push(test);
    }
    for (why, tests) in by_reason {
        let others = match tests.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        println!("        SKIP: {}{others}: {why}", tests[0]);
    }
}

/// The end of the output: what failed, and the numbers on a line of their own.
fn sum_up(workshop: &Workshop, total: &Score) -> ExitCode {
    println!();
    for (name, _) in &total.failures {
        println!("FAILED {name}");
    }
    for retry in &workshop.retries {
        println!("booted twice: {retry}");
    }
    println!("{}", total.tally);
    if total.tally.failed == 0 && total.tally.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
