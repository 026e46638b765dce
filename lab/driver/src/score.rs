// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a stage of the tests found out.

use hcall_ktap::{Outcome, Report, Tally, TestReport};

use crate::process::Finished;

/// A result of many tests, from whatever source.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Score {
    pub(crate) tally: Tally,
    /// The names of the failed, and what is known of why.
    pub(crate) failures: Vec<(String, Vec<String>)>,
    /// The names of the skipped, and why.
    pub(crate) skips: Vec<(String, String)>,
}

impl Score {
    /// One test that passed.
    pub(crate) fn passed() -> Self {
        let mut score = Self::default();
        score.tally.passed = 1;
        score
    }

    /// One test that failed.
    pub(crate) fn failed(name: impl Into<String>, why: Vec<String>) -> Self {
        let mut score = Self::default();
        score.fail(name, why);
        score
    }

    /// One test that cannot be run here.
    pub(crate) fn skipped(name: impl Into<String>, why: impl Into<String>) -> Self {
        let mut score = Self::default();
        score.skip(name, why);
        score
    }

    pub(crate) fn fail(&mut self, name: impl Into<String>, why: Vec<String>) {
        self.tally.failed += 1;
        self.failures.push((name.into(), why));
    }

    pub(crate) fn skip(&mut self, name: impl Into<String>, why: impl Into<String>) {
        self.tally.skipped += 1;
        self.skips.push((name.into(), why.into()));
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.tally = self.tally + other.tally;
        self.failures.extend(other.failures);
        self.skips.extend(other.skips);
    }

    /// The score of a report, every test named behind `prefix`.
    pub(crate) fn of_report(prefix: &str, report: &Report) -> Self {
        let mut score = Self {
            tally: report.tally(),
            ..Self::default()
        };
        for test in &report.tests {
            score.note(&format!("{prefix}/{}", test.name), test);
        }
        score
    }

    /// The score of a program that prints a report: it must also succeed, if no test failed.
    pub(crate) fn of_program(prefix: &str, output: &[String], finished: &Finished) -> Self {
        let report = Report::parse(output.iter().map(String::as_str));
        let mut score = Self::of_report(prefix, &report);
        if !finished.succeeded() && !report.failed() {
            score.fail(format!("{prefix}/exit status"), finished.failure());
        }
        score
    }

    fn note(&mut self, name: &str, test: &TestReport) {
        for subtest in test.subtests.iter().flat_map(|report| &report.tests) {
            self.note(&format!("{name}/{}", subtest.name), subtest);
        }
        let subtest_failed = test.subtests.as_ref().is_some_and(Report::failed);
        match &test.outcome {
            Outcome::Failed if !subtest_failed => {
                self.failures
                    .push((name.to_owned(), test.diagnostics.clone()));
            }
            Outcome::Skipped(reason) if test.subtests.is_none() => {
                self.skips.push((name.to_owned(), reason.clone()));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_nested_report() {
        let console = "KTAP version 1\n1..2\n  KTAP version 1\n  1..2\n  ok 1 a # SKIP why\n  \
                       # because\n  not ok 2 b\nnot ok 1 m\nok 2 n\n";
        let score = Score::of_report("svm", &Report::parse(console.lines()));
        assert_eq!(score.tally.to_string(), "1 passed, 1 failed, 1 skipped");
        let failure = ("svm/m/b".to_owned(), vec!["because".to_owned()]);
        assert_eq!(score.failures, [failure]);
        assert_eq!(score.skips, [("svm/m/a".to_owned(), "why".to_owned())]);
    }
}
