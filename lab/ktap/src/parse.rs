// SPDX-License-Identifier: MIT OR Apache-2.0
//! The parser: KTAP among the other lines of a console, as they arrive.

use crate::line::{Line, VERSION_LINE};
use crate::{Outcome, Report, TestReport};

/// The failed test that stands for a breach of the protocol.
const COMPLETENESS: &str = "complete KTAP report";

/// Reads a console line by line; [`Report::parse`] does so for all of it at once.
///
/// # Examples
///
/// ```
/// use hcall_ktap::{Outcome, Parser};
///
/// let mut parser = Parser::new();
/// for line in ["booting", "KTAP version 1", "1..2"] {
///     assert!(parser.push(line).is_none());
/// }
/// let test = parser.push("ok 1 first").expect("a result");
/// assert_eq!(test.outcome, Outcome::Passed);
///
/// // The machine dies here, with one of two results.
/// let report = parser.finish();
/// assert_eq!(report.to_string(), "1 passed, 1 failed, 0 skipped");
/// assert_eq!(report.failed_names(), ["complete KTAP report"]);
/// ```
#[derive(Debug, Default)]
pub struct Parser {
    /// What stands before each line of the block.
    prefix: String,
    /// The block, and the subtests that are being read in it.
    levels: Vec<Level>,
}

impl Parser {
    /// A parser that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a KTAP block has begun.
    pub fn started(&self) -> bool {
        !self.levels.is_empty()
    }

    /// Reads one line; returns the test whose result it is, subtests not among them.
    pub fn push(&mut self, line: &str) -> Option<&TestReport> {
        let line = line.trim_end_matches(['\r', '\n']);
        if self.levels.is_empty() {
            self.begin(line);
            return None;
        }
        let line = strip_prefix(line, &self.prefix);
        let content = line.trim_start_matches(' ');
        let indent = line.len() - content.len();
        let line = Line::read(content);
        self.read(indent, &line);
        match line {
            Line::Result { .. } if indent == 0 => self.levels[0].report.tests.last(),
            _ => None,
        }
    }

    /// What was reported, with a failed test for what was not.
    pub fn finish(mut self) -> Report {
        if self.levels.is_empty() {
            return incomplete(
                Report::default(),
                vec!["no KTAP output was found".to_owned()],
            );
        }
        if self.levels.len() > 1 {
            self.close_to(0);
            let root = &mut self.levels[0];
            root.faults
                .push("the output ends inside subtests".to_owned());
            root.adopt_orphans();
        }
        self.levels.swap_remove(0).finish()
    }

    fn begin(&mut self, line: &str) {
        if let Some(prefix) = line.trim_end().strip_suffix(VERSION_LINE) {
            self.prefix = prefix.to_owned();
            self.levels.push(Level::new(0));
        }
    }

    fn read(&mut self, indent: usize, line: &Line<'_>) {
        match line {
            Line::Version if indent > self.innermost().indent => {
                self.levels.push(Level::new(indent));
            }
            Line::Version => {
                self.close_to(indent);
                self.innermost()
                    .faults
                    .push(format!("a second `{VERSION_LINE}` at the same level"));
            }
            Line::Plan { count, skip } if indent == self.innermost().indent => {
                self.innermost().plan(*count, *skip);
            }
            Line::Result {
                number,
                name,
                outcome,
            } if indent <= self.innermost().indent => {
                self.close_to(indent);
                self.innermost().result(*number, name, outcome.clone());
            }
            Line::Diagnostic(text) if indent == self.innermost().indent => {
                self.innermost().diagnostic(text);
            }
            _ => {}
        }
    }

    /// Ends the subtests that are indented deeper than `indent`.
    fn close_to(&mut self, indent: usize) {
        while self.levels.len() > 1 && self.innermost().indent > indent {
            let Some(closed) = self.levels.pop() else {
                return;
            };
            self.innermost().subtests = Some(closed.finish());
        }
    }

    fn innermost(&mut self) -> &mut Level {
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }
}

/// One block of results at one indentation.
#[derive(Debug)]
struct Level {
    indent: usize,
    planned: Option<usize>,
    report: Report,
    diagnostics: Vec<String>,
    subtests: Option<Report>,
    faults: Vec<String>,
}

impl Level {
    fn new(indent: usize) -> Self {
        Self {
            indent,
            planned: None,
            report: Report::default(),
            diagnostics: Vec::new(),
            subtests: None,
            faults: Vec::new(),
        }
    }

    fn plan(&mut self, count: usize, skip: Option<&str>) {
        if self.planned.is_some() {
            self.faults.push("a second plan".to_owned());
            return;
        }
        self.planned = Some(count);
        // What was said before the plan is about the suite, not about its first test.
        self.diagnostics.clear();
        match (count, skip) {
            (0, Some(reason)) => {
                let outcome = Outcome::Skipped(reason.to_owned());
                self.report
                    .tests
                    .push(TestReport::new("all tests", outcome));
                self.planned = Some(1);
            }
            (0, None) => self.faults.push("the plan has no tests".to_owned()),
            _ => {}
        }
    }

    fn result(&mut self, number: usize, name: &str, outcome: Outcome) {
        let expected = self.report.tests.len() + 1;
        if number != expected {
            self.faults.push(format!(
                "result number {number} ({name}) where {expected} was expected"
            ));
        }
        self.report.tests.push(TestReport {
            name: name.to_owned(),
            outcome,
            diagnostics: std::mem::take(&mut self.diagnostics),
            subtests: self.subtests.take(),
        });
    }

    fn diagnostic(&mut self, text: &str) {
        self.diagnostics.push(text.to_owned());
    }

    /// Keeps the results of subtests whose test has no result.
    fn adopt_orphans(&mut self) {
        if let Some(subtests) = self.subtests.take() {
            self.report.tests.push(TestReport {
                name: "(no result)".to_owned(),
                outcome: Outcome::Failed,
                diagnostics: Vec::new(),
                subtests: Some(subtests),
            });
        }
    }

    fn finish(mut self) -> Report {
        let reported = self.report.tests.len();
        match self.planned {
            None => self.faults.push("there is no plan (`1..N`)".to_owned()),
            Some(planned) if planned != reported => self.faults.push(format!(
                "{planned} results were planned, {reported} reported"
            )),
            Some(_) => {}
        }
        if self.faults.is_empty() {
            return self.report;
        }
        let mut diagnostics = self.faults;
        if !self.diagnostics.is_empty() {
            diagnostics.push("the last diagnostics:".to_owned());
            diagnostics.append(&mut self.diagnostics);
        }
        incomplete(self.report, diagnostics)
    }
}

fn incomplete(mut report: Report, diagnostics: Vec<String>) -> Report {
    let mut test = TestReport::new(COMPLETENESS, Outcome::Failed);
    test.diagnostics = diagnostics;
    report.tests.push(test);
    report
}

/// Removes what stood before the block's first line. A kernel's time stamp is not the same
/// on each line, so any will do in its place.
fn strip_prefix<'a>(line: &'a str, prefix: &str) -> &'a str {
    if let Some(rest) = line.strip_prefix(prefix).filter(|_| !prefix.is_empty()) {
        return rest;
    }
    if prefix.starts_with('[') && line.starts_with('[') {
        return line.split_once("] ").map_or(line, |(_, rest)| rest);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Report {
        Report::parse(text.lines())
    }

    fn faults(text: &str) -> Vec<String> {
        let report = parse(text);
        let last = report.tests.last().expect("at least the fault");
        assert_eq!(last.name, COMPLETENESS, "{report:?}");
        last.diagnostics.clone()
    }

    #[test]
    fn among_other_lines() {
        let report = parse(
            "SeaBIOS\r\nKTAP version 1\r\n# Suite: x\r\n1..2\r\n[ 1.2] kernel says\r\nok 1 a\r\n\
             hello\r\n# text\r\nok 2 b\r\nLAB-EXIT status=0\r\n",
        );
        assert_eq!(report.to_string(), "2 passed, 0 failed, 0 skipped");
        assert!(report.tests[0].diagnostics.is_empty());
        assert_eq!(report.tests[1].diagnostics, ["text"]);
    }

    #[test]
    fn behind_a_prefix() {
        let report = parse("L2: KTAP version 1\nL2: 1..1\nother\nL2: ok 1 a\n");
        assert_eq!(report.to_string(), "1 passed, 0 failed, 0 skipped");
    }

    #[test]
    fn behind_time_stamps() {
        let report = parse("[    9.9] KTAP version 1\n[    9.9] 1..1\n[   10.12] not ok 1 a\n");
        assert_eq!(report.to_string(), "0 passed, 1 failed, 0 skipped");
        assert_eq!(report.failed_names(), ["a"]);
    }

    #[test]
    fn nothing_at_all() {
        assert_eq!(faults("Kernel panic\n"), ["no KTAP output was found"]);
        assert_eq!(faults(""), ["no KTAP output was found"]);
    }

    #[test]
    fn a_suite_that_died() {
        let text = "KTAP version 1\n1..3\nok 1 a\n# about to divide\n";
        let expected = [
            "3 results were planned, 1 reported",
            "the last diagnostics:",
            "about to divide",
        ];
        assert_eq!(faults(text), expected);
        assert_eq!(parse(text).to_string(), "1 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn numbers_twice_and_missing() {
        let twice = faults("KTAP version 1\n1..2\nok 1 a\nok 1 a\n");
        assert_eq!(twice, ["result number 1 (a) where 2 was expected"]);
        let missing = faults("KTAP version 1\n1..2\nok 1 a\nok 3 c\n");
        assert_eq!(missing, ["result number 3 (c) where 2 was expected"]);
        let surplus = faults("KTAP version 1\n1..1\nok 1 a\nok 2 b\n");
        assert_eq!(surplus, ["1 results were planned, 2 reported"]);
    }

    #[test]
    fn plans_that_are_none() {
        assert_eq!(
            faults("KTAP version 1\nok 1 a\n"),
            ["there is no plan (`1..N`)"]
        );
        assert_eq!(faults("KTAP version 1\n1..0\n"), ["the plan has no tests"]);
        assert_eq!(
            faults("KTAP version 1\n1..1\n1..1\nok 1 a\n"),
            ["a second plan"]
        );
        let report = parse("KTAP version 1\n1..0 # SKIP no KVM\n");
        assert_eq!(report.to_string(), "0 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn a_second_block() {
        let text = "KTAP version 1\n1..1\nok 1 a\nKTAP version 1\n";
        assert_eq!(
            faults(text),
            ["a second `KTAP version 1` at the same level"]
        );
    }

    #[test]
    fn subtests() {
        let report = parse(
            "KTAP version 1\n1..2\n  KTAP version 1\n  # Subtest: m\n  1..2\n  ok 1 x\n  \
             # why\n  not ok 2 y\nnot ok 1 m\nok 2 n\n",
        );
        assert_eq!(report.to_string(), "2 passed, 1 failed, 0 skipped");
        assert_eq!(report.failed_names(), ["m/y"]);
        let subtests = report.tests[0].subtests.as_ref().expect("subtests");
        assert_eq!(subtests.tests[1].diagnostics, ["why"]);
    }

    #[test]
    fn subtests_that_died_fail_even_if_their_test_says_ok() {
        let report = parse("KTAP version 1\n1..1\n  KTAP version 1\n  1..2\n  ok 1 x\nok 1 m\n");
        assert_eq!(report.failed_names(), ["m/complete KTAP report"]);
    }

    #[test]
    fn an_end_inside_subtests() {
        let report = parse("KTAP version 1\n1..1\n  KTAP version 1\n  1..2\n  ok 1 x\n");
        assert!(report.failed());
        assert_eq!(report.tally().passed, 1);
        assert_eq!(
            report.tests[1].diagnostics,
            ["the output ends inside subtests"]
        );
    }

    #[test]
    fn results_are_told_as_they_come() {
        let mut parser = Parser::new();
        assert!(!parser.started());
        assert!(parser.push("KTAP version 1").is_none());
        assert!(parser.started());
        for line in ["1..1", "  KTAP version 1", "  1..1", "  ok 1 x"] {
            assert!(parser.push(line).is_none(), "{line}");
        }
        assert_eq!(
            parser.push("ok 1 m").map(|test| test.name.as_str()),
            Some("m")
        );
    }
}
