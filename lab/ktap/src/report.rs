// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a suite reported: results, nested as they were, counted, and written again.

use std::fmt;
use std::io::{self, Write};

use crate::line::{fit_name, fit_reason, VERSION_LINE};
use crate::Parser;

/// How much deeper each level of subtests is indented.
const INDENT: &str = "  ";

/// The result of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It failed; the diagnostics say why.
    Failed,
    /// It was not run, for this reason.
    Skipped(String),
}

/// One test of a [`Report`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestReport {
    /// The test's name.
    pub name: String,
    /// Its result, as the suite stated it; see [`TestReport::failed`] for the verdict that
    /// takes subtests into account.
    pub outcome: Outcome,
    /// What was said about it, line by line.
    pub diagnostics: Vec<String>,
    /// The tests it consists of, if it does.
    pub subtests: Option<Report>,
}

impl TestReport {
    /// A test without subtests.
    pub fn new(name: impl Into<String>, outcome: Outcome) -> Self {
        Self {
            name: name.into(),
            outcome,
            diagnostics: Vec::new(),
            subtests: None,
        }
    }

    /// Whether this test or any of its subtests failed.
    pub fn failed(&self) -> bool {
        self.outcome == Outcome::Failed || self.subtests.as_ref().is_some_and(Report::failed)
    }

    fn tally(&self) -> Tally {
        let Some(subtests) = &self.subtests else {
            return Tally::of(&self.outcome);
        };
        let mut tally = subtests.tally();
        if self.outcome == Outcome::Failed && tally.failed == 0 {
            tally.failed = 1;
        }
        tally
    }

    fn collect_failed(&self, path: &str, into: &mut Vec<String>) {
        let path = format!("{path}{}", self.name);
        let before = into.len();
        if let Some(subtests) = &self.subtests {
            subtests.collect_failed(&format!("{path}/"), into);
        }
        if self.outcome == Outcome::Failed && into.len() == before {
            into.push(path);
        }
    }

    fn write(&self, out: &mut dyn Write, indent: &str, number: usize) -> io::Result<()> {
        if let Some(subtests) = &self.subtests {
            subtests.write_indented(out, &format!("{indent}{INDENT}"))?;
        }
        for diagnostic in &self.diagnostics {
            writeln!(out, "{indent}# {diagnostic}")?;
        }
        let result = if self.failed() { "not ok" } else { "ok" };
        let name = fit_name(&self.name);
        match &self.outcome {
            Outcome::Skipped(reason) if !self.failed() => {
                writeln!(
                    out,
                    "{indent}ok {number} {name} # SKIP {}",
                    fit_reason(reason)
                )?;
            }
            _ => writeln!(out, "{indent}{result} {number} {name}")?,
        }
        out.flush()
    }
}

/// What a suite reported, or the failure to report.
///
/// # Examples
///
/// ```
/// use hcall_ktap::Report;
///
/// let console = "\
/// [    1.0] random: crng init done\r
/// KTAP version 1\r
/// 1..3\r
/// ok 1 loads\r
/// ## expected 42, found 41\r
/// not ok 2 adds\r
/// ok 3 divides # SKIP no divider\r
/// ";
/// let report = Report::parse(console.lines());
/// assert_eq!(report.to_string(), "1 passed, 1 failed, 1 skipped");
/// assert_eq!(report.failed_names(), ["adds"]);
/// assert_eq!(report.tests[1].diagnostics, ["expected 42, found 41"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The tests in the order of their results.
    pub tests: Vec<TestReport>,
}

impl Report {
    /// Finds the KTAP block in the lines of a machine's console.
    ///
    /// Lines that are not KTAP are passed over, carriage returns are removed, and so is
    /// what stands before `KTAP version 1` (a kernel's time stamp, a prefix) on that line
    /// and the following ones. What breaks the protocol – no block, no plan, fewer or more
    /// results than planned, numbers twice or out of order – becomes a failed test named
    /// `complete KTAP report` whose diagnostics say what was wrong.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut parser = Parser::new();
        for line in lines {
            parser.push(line);
        }
        parser.finish()
    }

    /// How many tests passed, failed and were skipped. A test with subtests is counted by
    /// them.
    pub fn tally(&self) -> Tally {
        self.tests.iter().map(TestReport::tally).sum()
    }

    /// Whether any test failed.
    pub fn failed(&self) -> bool {
        self.tests.iter().any(TestReport::failed)
    }

    /// The names of the tests that failed, subtests as `test/subtest`.
    pub fn failed_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        self.collect_failed("", &mut names);
        names
    }

    /// Writes the report as a KTAP block.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        self.write_indented(out, "")
    }

    fn write_indented(&self, out: &mut dyn Write, indent: &str) -> io::Result<()> {
        writeln!(out, "{indent}{VERSION_LINE}")?;
        writeln!(out, "{indent}1..{}", self.tests.len())?;
        for (index, test) in self.tests.iter().enumerate() {
            test.write(out, indent, index + 1)?;
        }
        Ok(())
    }

    /// Writes `test` as the `number`-th result of a block that is being written.
    pub(crate) fn write_test(
        test: &TestReport,
        number: usize,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        test.write(out, "", number)
    }

    fn collect_failed(&self, path: &str, into: &mut Vec<String>) {
        for test in &self.tests {
            test.collect_failed(path, into);
        }
    }
}

/// `N passed, N failed, N skipped`.
impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tally().fmt(formatter)
    }
}

/// How many tests passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed.
    pub failed: usize,
    /// Tests that were not run.
    pub skipped: usize,
}

impl Tally {
    fn of(outcome: &Outcome) -> Self {
        let mut tally = Self::default();
        match outcome {
            Outcome::Passed => tally.passed = 1,
            Outcome::Failed => tally.failed = 1,
            Outcome::Skipped(_) => tally.skipped = 1,
        }
        tally
    }
}

impl std::ops::Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl std::iter::Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), std::ops::Add::add)
    }
}

/// `N passed, N failed, N skipped`.
impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(
            formatter,
            "{passed} passed, {failed} failed, {skipped} skipped"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested() -> Report {
        let mut inner = Report::default();
        inner.tests.push(TestReport::new("good", Outcome::Passed));
        let mut bad = TestReport::new("bad", Outcome::Failed);
        bad.diagnostics.push("because".to_owned());
        inner.tests.push(bad);
        let mut outer = TestReport::new("machine", Outcome::Passed);
        outer.subtests = Some(inner);
        let skipped = TestReport::new("other", Outcome::Skipped("absent".to_owned()));
        Report {
            tests: vec![outer, skipped],
        }
    }

    #[test]
    fn subtests_are_counted_and_decide() {
        let report = nested();
        let tally = Tally {
            passed: 1,
            failed: 1,
            skipped: 1,
        };
        assert_eq!(report.tally(), tally);
        assert!(report.failed());
        assert_eq!(report.failed_names(), ["machine/bad"]);
    }

    #[test]
    fn a_failure_beside_its_passing_subtests_is_counted() {
        let mut test = TestReport::new("outer", Outcome::Failed);
        let inner = TestReport::new("inner", Outcome::Passed);
        test.subtests = Some(Report { tests: vec![inner] });
        let report = Report { tests: vec![test] };
        assert_eq!(
            report.tally(),
            Tally {
                passed: 1,
                failed: 1,
                skipped: 0
            }
        );
        assert_eq!(report.failed_names(), ["outer"]);
    }

    #[test]
    fn written_and_read_again() {
        let mut written = Vec::new();
        nested()
            .write(&mut written)
            .expect("a Vec takes everything");
        let written = String::from_utf8(written).expect("KTAP is text");
        assert_eq!(
            written,
            "KTAP version 1\n1..2\n  KTAP version 1\n  1..2\n  ok 1 good\n  # because\n  \
             not ok 2 bad\nnot ok 1 machine\nok 2 other # SKIP absent\n"
        );
        let mut expected = nested();
        expected.tests[0].outcome = Outcome::Failed;
        assert_eq!(Report::parse(written.lines()), expected);
    }
}
