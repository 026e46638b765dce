// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `cargo test` prints, counted.

use std::collections::VecDeque;

use crate::process::{Finished, Next, Stream, Watch};
use crate::score::Score;

/// Reads the output of `cargo test` as it comes, its two streams merged.
///
/// The numbers are those of the `test result:` lines, because what a test itself prints
/// can run into its own line; names and reasons are from the lines of the tests.
#[derive(Debug, Default)]
pub(crate) struct Libtest {
    score: Score,
    /// The test program whose output this is.
    program: String,
    /// It has begun, and has not summed up yet.
    unfinished: bool,
    /// What was told of the program's tests.
    failed: VecDeque<String>,
    ignored: VecDeque<(String, String)>,
}

impl Libtest {
    /// The score of everything that was run, given how cargo ended.
    pub(crate) fn finish(mut self, finished: &Finished) -> Score {
        self.leave_program();
        let score = &mut self.score;
        if !finished.succeeded() && score.failures.is_empty() {
            score.fail("cargo test", finished.failure());
        }
        for (_, why) in &mut score.failures {
            if why.is_empty() {
                why.push(format!("see {}", finished.log.display()));
            }
        }
        self.score
    }

    fn leave_program(&mut self) {
        if std::mem::take(&mut self.unfinished) {
            let why = vec!["the test program died before it summed up".to_owned()];
            self.score.fail(self.program.clone(), why);
        }
        self.failed.clear();
        self.ignored.clear();
    }

    fn test(&mut self, line: &str) {
        let Some((name, result)) = line.rsplit_once(" ... ") else {
            return;
        };
        let name = format!("{}: {name}", self.program);
        if result.ends_with("FAILED") {
            self.failed.push_back(name);
        } else if let Some(reason) = result.strip_prefix("ignored") {
            let reason = reason.trim_start_matches([',', ' ']);
            let reason = if reason.is_empty() { "ignored" } else { reason };
            self.ignored.push_back((name, reason.to_owned()));
        }
    }

    fn sum_up(&mut self, line: &str) {
        self.unfinished = false;
        self.score.tally.passed += count(line, "passed");
        for _ in 0..count(line, "failed") {
            let name = self.failed.pop_front();
            let name = name.unwrap_or_else(|| format!("{}: a test", self.program));
            self.score.fail(name, Vec::new());
        }
        for _ in 0..count(line, "ignored") {
            let nameless = || (format!("{}: a test", self.program), "ignored".to_owned());
            let (name, reason) = self.ignored.pop_front().unwrap_or_else(nameless);
            self.score.skip(name, reason);
        }
    }
}

impl Watch for Libtest {
    fn line(&mut self, _: Stream, line: &str) -> Next {
        let line = line.trim();
        let program = line
            .strip_prefix("Running ")
            .or(line.strip_prefix("Doc-tests "));
        if let Some(program) = program {
            self.leave_program();
            let (program, _) = program.split_once(" (").unwrap_or((program, ""));
            self.program = program.to_owned();
        } else if line.starts_with("running ") && line.contains(" test") {
            self.leave_program();
            self.unfinished = true;
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.sum_up(result);
        } else if let Some(test) = line.strip_prefix("test ") {
            self.test(test);
        }
        Next::GoOn
    }
}

/// The number before `word` in `ok. 3 passed; 0 failed; 1 ignored; …`.
fn count(summary: &str, word: &str) -> usize {
    summary
        .split([';', '.'])
        .filter_map(|part| part.trim().split_once(' '))
        .find(|(_, name)| *name == word)
        .and_then(|(number, _)| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(lines: &[&str]) -> Score {
        let mut libtest = Libtest::default();
        for line in lines {
            assert_eq!(libtest.line(Stream::Output, line), Next::GoOn);
        }
        libtest.leave_program();
        libtest.score
    }

    #[test]
    fn numbers_and_names() {
        let score = score(&[
            "     Running unittests src/lib.rs (target/debug/deps/a-1)",
            "running 4 tests",
            "test one ... ok",
            "test two ... noise of its ownFAILED",
            "test three ... ignored, needs a device",
            "test four - should panic ... ok",
            "test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out",
            "   Doc-tests a",
            "running 1 test",
            "test src/lib.rs - f (line 3) ... ok",
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; finished in 0.1s",
        ]);
        assert_eq!(score.tally.to_string(), "3 passed, 1 failed, 1 skipped");
        assert_eq!(score.failures[0].0, "unittests src/lib.rs: two");
        assert_eq!(score.skips[0].1, "needs a device");
    }

    #[test]
    fn a_program_that_died() {
        let score = score(&[
            "     Running tests/x.rs (target/debug/deps/x-1)",
            "running 2 tests",
            "test one ... ok",
        ]);
        assert_eq!(score.tally.to_string(), "0 passed, 1 failed, 0 skipped");
        assert_eq!(score.failures[0].0, "tests/x.rs");
    }
}
