// SPDX-License-Identifier: MIT OR Apache-2.0
//! The runner: cases in order, their results as KTAP.

use std::any::Any;
use std::fmt;
use std::io::{self, Write};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::process::ExitCode;

use crate::line::VERSION_LINE;
use crate::{Outcome, Report, TestReport};

/// How a case ended that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Pass,
    /// It could not be run here, for this reason. Counted as skipped, never as passed.
    Skip(String),
}

/// How a case ended; the error says what was wrong, on as many lines as it takes.
pub type CaseResult = Result<Verdict, String>;

type Body<'a> = Box<dyn FnOnce() -> Result<Done, String> + 'a>;

/// How a body of either kind ended.
enum Done {
    Verdict(Verdict),
    Subtests(Report),
}

/// Test cases that run in order and report in KTAP; see the [crate's example](crate).
pub struct Suite<'a> {
    name: String,
    cases: Vec<(String, Body<'a>)>,
    filter: Option<String>,
}

impl<'a> Suite<'a> {
    /// A suite without cases.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            cases: Vec::new(),
            filter: None,
        }
    }

    /// Adds a case. It fails if `body` returns an error or panics.
    pub fn case(mut self, name: impl Into<String>, body: impl FnOnce() -> CaseResult + 'a) -> Self {
        let body = Box::new(|| body().map(Done::Verdict));
        self.cases.push((name.into(), body));
        self
    }

    /// Adds a case that consists of the tests which another machine or program reported.
    ///
    /// The report is written again as subtests. The case fails if one of them failed, if
    /// `body` returns an error, or if it panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use hcall_ktap::{Report, Suite};
    ///
    /// # fn main() -> std::process::ExitCode {
    /// Suite::new("machines")
    ///     .case_with_subtests("guest", || {
    ///         let console = "KTAP version 1\n1..1\nok 1 boots\n"; // from the guest
    ///         Ok(Report::parse(console.lines()))
    ///     })
    ///     .run()
    /// # }
    /// ```
    pub fn case_with_subtests(
        mut self,
        name: impl Into<String>,
        body: impl FnOnce() -> Result<Report, String> + 'a,
    ) -> Self {
        let body = Box::new(|| body().map(Done::Subtests));
        self.cases.push((name.into(), body));
        self
    }

    /// Runs only the cases whose name contains `substring`; the others are not reported.
    pub fn filter(mut self, substring: impl Into<String>) -> Self {
        self.filter = Some(substring.into());
        self
    }

    /// Runs the cases, writes the report to standard output, and says whether none failed.
    ///
    /// A suite without cases, or whose filter leaves none, is a failure: nothing was
    /// tested.
    pub fn run(self) -> ExitCode {
        match self.run_to(&mut io::stdout()) {
            Ok(report) if !report.failed() && !report.tests.is_empty() => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("cannot write the test report: {error}");
                ExitCode::FAILURE
            }
        }
    }

    /// Like [`Suite::run`], but writes to `out` and returns what was reported.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn run_to(mut self, out: &mut dyn Write) -> io::Result<Report> {
        if let Some(filter) = &self.filter {
            self.cases
                .retain(|(name, _)| name.contains(filter.as_str()));
        }
        writeln!(out, "{VERSION_LINE}")?;
        writeln!(out, "# Suite: {}", self.name)?;
        writeln!(out, "1..{}", self.cases.len())?;
        out.flush()?;

        let mut report = Report::default();
        for (index, (name, body)) in self.cases.into_iter().enumerate() {
            let test = run_case(name, body);
            Report::write_test(&test, index + 1, out)?;
            report.tests.push(test);
        }
        Ok(report)
    }
}

impl fmt::Debug for Suite<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.cases.iter().map(|(name, _)| name).collect();
        formatter
            .debug_struct("Suite")
            .field("name", &self.name)
            .field("cases", &names)
            .field("filter", &self.filter)
            .finish()
    }
}

fn run_case(name: String, body: Body<'_>) -> TestReport {
    // The body is consumed, and nothing of it is looked at after a panic.
    let ended = catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|panic| Err(format!("panicked: {}", panic_message(panic.as_ref()))));
    match ended {
        Ok(Done::Verdict(Verdict::Pass)) => TestReport::new(name, Outcome::Passed),
        Ok(Done::Verdict(Verdict::Skip(reason))) => TestReport::new(name, Outcome::Skipped(reason)),
        Ok(Done::Subtests(subtests)) => of_subtests(name, subtests),
        Err(message) => failed(name, &message),
    }
}

fn of_subtests(name: String, subtests: Report) -> TestReport {
    if subtests.tests.is_empty() {
        return failed(name, "there were no subtests");
    }
    let outcome = if subtests.failed() {
        Outcome::Failed
    } else {
        Outcome::Passed
    };
    TestReport {
        subtests: Some(subtests),
        ..TestReport::new(name, outcome)
    }
}

fn failed(name: String, message: &str) -> TestReport {
    TestReport {
        diagnostics: message.lines().map(str::to_owned).collect(),
        ..TestReport::new(name, Outcome::Failed)
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("with something that is not text")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(suite: Suite<'_>) -> (Report, String) {
        let mut written = Vec::new();
        let report = suite.run_to(&mut written).expect("a Vec takes everything");
        let written = String::from_utf8(written).expect("KTAP is text");
        assert_eq!(Report::parse(written.lines()), report, "{written}");
        (report, written)
    }

    #[test]
    fn every_kind_of_end() {
        let (report, written) = run(Suite::new("s")
            .case("passes", || Ok(Verdict::Pass))
            .case("fails", || Err("line 1\nline 2".to_owned()))
            .case("skips", || Ok(Verdict::Skip("no device".to_owned())))
            .case("panics", || panic!("at {}", 42)));
        assert_eq!(
            written,
            "KTAP version 1\n# Suite: s\n1..4\nok 1 passes\n# line 1\n# line 2\nnot ok 2 fails\n\
             ok 3 skips # SKIP no device\n# panicked: at 42\nnot ok 4 panics\n"
        );
        assert_eq!(report.to_string(), "1 passed, 2 failed, 1 skipped");
    }

    #[test]
    fn subtests_of_another_machine() {
        let inner = "KTAP version 1\n1..2\nok 1 a\nnot ok 2 b\n";
        let (report, written) = run(Suite::new("s")
            .case_with_subtests("inner", || Ok(Report::parse(inner.lines())))
            .case_with_subtests("dead", || Ok(Report::parse([])))
            .case_with_subtests("unreachable", || Err("no machine".to_owned())));
        assert!(written
            .contains("\n  KTAP version 1\n  1..2\n  ok 1 a\n  not ok 2 b\nnot ok 1 inner\n"));
        let expected = ["inner/b", "dead/complete KTAP report", "unreachable"];
        assert_eq!(report.failed_names(), expected);
    }

    #[test]
    fn a_case_borrows_from_its_surroundings() {
        let value = String::from("shared");
        let (report, _) = run(Suite::new("s").case("reads", || {
            if value.is_empty() {
                Err(value.clone())
            } else {
                Ok(Verdict::Pass)
            }
        }));
        assert!(!report.failed());
    }

    #[test]
    fn the_filter_leaves_cases_out() {
        let suite = || {
            Suite::new("s")
                .case("port: one", || Ok(Verdict::Pass))
                .case("xen: two", || Err("must not run".to_owned()))
        };
        let (report, _) = run(suite().filter("port"));
        assert_eq!(report.to_string(), "1 passed, 0 failed, 0 skipped");
        let mut written = Vec::new();
        let none = suite()
            .filter("absent")
            .run_to(&mut written)
            .expect("written");
        assert!(none.tests.is_empty());
        assert!(Report::parse(String::from_utf8_lossy(&written).lines()).failed());
    }
}
