// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzz targets: built once, run two at a time, each one test.
//!
//! A target passes if libFuzzer has found nothing – no panic, no access that the sanitizer
//! forbids, no leak, no input that takes seconds – and has really executed something. What it
//! finds stays in `target/lab/fuzz`, and so do the inputs that reached something new.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{bail, Context, Result};

use crate::process::{Finished, Job, Next, Stream, Watch};
use crate::provision::{self, FuzzPrograms};
use crate::score::Score;
use crate::workshop::Workshop;

/// How long the tests run each target.
const SECONDS: u32 = 60;

/// How many run at a time: with more of them than processors, none would get far.
const AT_A_TIME: usize = 2;

/// Executions per second, of which even the slowest target makes a hundred times as many on an
/// idle machine: with fewer it has not been fuzzed.
const LEAST_PER_SECOND: u64 = 20;

/// An input that takes as long is a hang.
const HANG_SECONDS: u32 = 10;

/// How much longer a target may take: for reading what it begins with, and for summing up.
const GRACE: Duration = Duration::from_secs(90);

const MEMORY_MEGABYTES: u32 = 2048;

/// What can be said of a run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How long each target is run.
    #[arg(long, default_value_t = SECONDS, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Run only the targets whose name contains one of these.
    #[arg(value_name = "TARGET")]
    only: Vec<String>,
}

/// The stage of the tests.
pub(crate) fn stage(workshop: &mut Workshop) -> Result<Score> {
    let everything = Arguments {
        seconds: SECONDS,
        only: Vec::new(),
    };
    run(workshop, &everything)
}

/// Builds the targets and runs those that are asked for.
pub(crate) fn run(workshop: &Workshop, arguments: &Arguments) -> Result<Score> {
    let all = targets(&workshop.places.checkout.join("fuzz/fuzz_targets"))?;
    let asked = |name: &String| {
        let only = &arguments.only;
        only.is_empty() || only.iter().any(|part| name.contains(part))
    };
    let chosen: VecDeque<String> = all.iter().filter(|name| asked(name)).cloned().collect();
    if chosen.is_empty() {
        bail!("no such fuzz target; there are: {}", all.join(", "));
    }
    let fuzzer = Fuzzer {
        programs: provision::fuzz_programs(workshop)?,
        seconds: arguments.seconds,
        workshop,
    };
    println!(
        "      {} targets, {} s each, {AT_A_TIME} at a time, with {}",
        chosen.len(),
        arguments.seconds,
        fuzzer.programs.watched_by
    );
    let queue = Mutex::new(chosen);
    let take = || {
        queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    let work = || {
        let mut score = Score::default();
        while let Some(target) = take() {
            score.add(
                fuzzer
                    .fuzz(&target)
                    .unwrap_or_else(|error| Score::failed(&*target, vec![format!("{error:#}")])),
            );
        }
        score
    };
    let mut total = Score::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            total.add(worker.join().expect("a worker turns errors into failures"));
        }
    });
    Ok(total)
}

/// The names of the targets, in order.
fn targets(directory: &Path) -> Result<Vec<String>> {
    let context = || format!("cannot read the directory {}", directory.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if let (Some(name), Some("rs")) = (
            path.file_stem().and_then(|name| name.to_str()),
            path.extension().and_then(|extension| extension.to_str()),
        ) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// What runs targets.
struct Fuzzer<'workshop> {
    programs: FuzzPrograms,
    seconds: u32,
    workshop: &'workshop Workshop,
}

impl Fuzzer<'_> {
    fn fuzz(&self, target: &str) -> Result<Score> {
        let places = &self.workshop.places;
        let output = places.output.join("fuzz");
        let found = directory(output.join("corpus").join(target))?;
        let broken = directory(output.join("findings").join(target))?;
        let kept = ["corpus", "regressions"]
            .map(|kind| places.checkout.join("fuzz").join(kind).join(target));
        let mut watch = Statistics::default();
        let finished = Job::new(
            format!("fuzz {target}"),
            self.programs.directory.join(target),
        )
        // The first is the one that is written to.
        .arguments([&found])
        .arguments(kept.iter().filter(|directory| directory.is_dir()))
        .arguments([
            format!("-max_total_time={}", self.seconds),
            format!("-timeout={HANG_SECONDS}"),
            format!("-rss_limit_mb={MEMORY_MEGABYTES}"),
            format!("-artifact_prefix={}/", broken.display()),
            "-print_final_stats=1".to_owned(),
        ])
        .environment("RUST_BACKTRACE", "1")
        .limit(Duration::from_secs(self.seconds.into()) + GRACE)
        .merged()
        .run(self.workshop, &mut watch)?;
        Ok(self.judge(target, &watch, &finished))
    }

    fn judge(&self, target: &str, watch: &Statistics, finished: &Finished) -> Score {
        let name = format!("fuzzing/{target}");
        if !finished.succeeded() {
            let mut why = watch.reasons.clone();
            why.extend(watch.found.iter().map(|path| format!("the input: {path}")));
            why.extend(finished.failure());
            return Score::failed(name, why);
        }
        println!("      {target}: {watch}");
        let least = LEAST_PER_SECOND * u64::from(self.seconds);
        if watch.executions < least {
            let why = format!("{} executions, fewer than {least}", watch.executions);
            return Score::failed(name, vec![why]);
        }
        Score::passed()
    }
}

fn directory(path: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}

/// What libFuzzer says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
struct Statistics {
    executions: u64,
    per_second: u64,
    edges: u64,
    /// Inputs that broke something.
    found: Vec<String>,
    /// What panicked or was forbidden, and where.
    reasons: Vec<String>,
    /// The line before was the beginning of a reason.
    is_explained: bool,
}

impl Watch for Statistics {
    fn line(&mut self, _: Stream, line: &str) -> Next {
        let number = |text: &str| text.trim().parse().unwrap_or(0);
        if std::mem::take(&mut self.is_explained) {
            self.reasons.push(line.to_owned());
        }
        if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
            self.executions = number(count);
        } else if let Some(count) = line.strip_prefix("stat::average_exec_per_sec:") {
            self.per_second = number(count);
        } else if let Some((_, path)) = line.split_once("Test unit written to ") {
            self.found.push(path.to_owned());
        } else if line.contains(" panicked at ") {
            self.reasons.push(line.to_owned());
            self.is_explained = true;
        } else if line.starts_with("SUMMARY: ") {
            self.reasons.push(line.to_owned());
        } else if line.starts_with('#') {
            let after = line.split(" cov: ").nth(1).unwrap_or("");
            self.edges = number(after.split(' ').next().unwrap_or("")).max(self.edges);
        }
        Next::GoOn
    }
}

impl std::fmt::Display for Statistics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} executions, {} a second, {} edges",
            self.executions, self.per_second, self.edges
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lib_fuzzer_says() {
        let mut statistics = Statistics::default();
        for line in [
            "#2\tINITED cov: 3 ft: 4 corp: 1/1b exec/s: 0 rss: 30Mb",
            "#1048576\tpulse  cov: 175 ft: 182 corp: 23/60b lim: 4096 exec/s: 174762 rss: 125Mb",
            "thread '<unnamed>' (7) panicked at a.rs:1:2:",
            "attempt to add with overflow",
            "stack backtrace:",
            "SUMMARY: libFuzzer: deadly signal",
            "artifact_prefix='./'; Test unit written to ./crash-da39a3ee",
            "stat::number_of_executed_units: 1049849",
            "stat::average_exec_per_sec:     149978",
        ] {
            assert_eq!(statistics.line(Stream::Output, line), Next::GoOn);
        }
        let expected = Statistics {
            executions: 1_049_849,
            per_second: 149_978,
            edges: 175,
            found: vec!["./crash-da39a3ee".to_owned()],
            reasons: [
                "thread '<unnamed>' (7) panicked at a.rs:1:2:",
                "attempt to add with overflow",
                "SUMMARY: libFuzzer: deadly signal",
            ]
            .map(str::to_owned)
            .into(),
            is_explained: false,
        };
        assert_eq!(statistics, expected);
    }
}
