// SPDX-License-Identifier: MIT OR Apache-2.0
//! One line of KTAP: how it is read, and how text is made fit to stand in it.

use crate::Outcome;

/// The first line of a KTAP block.
pub(crate) const VERSION_LINE: &str = "KTAP version 1";

/// What one line of console output means, its indentation removed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// `KTAP version 1`
    Version,
    /// `1..N`, perhaps with `# SKIP reason`
    Plan { count: usize, skip: Option<&'a str> },
    /// `ok N name`, `not ok N name`, perhaps with a directive
    Result {
        number: usize,
        name: &'a str,
        outcome: Outcome,
    },
    /// `# text`
    Diagnostic(&'a str),
    /// Anything else.
    Other,
}

impl<'a> Line<'a> {
    pub(crate) fn read(text: &'a str) -> Self {
        let text = text.trim_end();
        if text == VERSION_LINE {
            return Self::Version;
        }
        if let Some(diagnostic) = text.strip_prefix('#') {
            return Self::Diagnostic(diagnostic.strip_prefix(' ').unwrap_or(diagnostic));
        }
        plan(text).or_else(|| result(text)).unwrap_or(Self::Other)
    }
}

fn plan(text: &str) -> Option<Line<'_>> {
    let (plan, directive) = split_directive(text.strip_prefix("1..")?);
    Some(Line::Plan {
        count: plan.trim_end().parse().ok()?,
        skip: directive.and_then(skip_reason),
    })
}

fn result(text: &str) -> Option<Line<'_>> {
    let (passed, rest) = match text.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (true, text.strip_prefix("ok ")?),
    };
    let (rest, directive) = split_directive(rest);
    let (number, name) = rest.split_once(' ').unwrap_or((rest, ""));
    let name = name.trim();
    Some(Line::Result {
        number: number.parse().ok()?,
        name: name.strip_prefix("- ").unwrap_or(name),
        outcome: outcome(passed, directive),
    })
}

/// `not ok` is a failure whatever follows; `ok` is one if the directive says so.
fn outcome(passed: bool, directive: Option<&str>) -> Outcome {
    let Some(directive) = directive.filter(|_| passed) else {
        return if passed {
            Outcome::Passed
        } else {
            Outcome::Failed
        };
    };
    if let Some(reason) = skip_reason(directive) {
        return Outcome::Skipped(reason.to_owned());
    }
    match directive.split_whitespace().next() {
        Some("TIMEOUT" | "ERROR") => Outcome::Failed,
        _ => Outcome::Passed,
    }
}

fn split_directive(text: &str) -> (&str, Option<&str>) {
    match text.split_once('#') {
        Some((before, after)) => (before, Some(after.trim())),
        None => (text, None),
    }
}

fn skip_reason(directive: &str) -> Option<&str> {
    directive.strip_prefix("SKIP").map(str::trim)
}

/// `name` as it can stand in a result line: no line break and no `#`, which would begin a
/// directive.
pub(crate) fn fit_name(name: &str) -> String {
    name.trim().replace(['\n', '\r', '#'], "_")
}

/// `reason` on one line.
pub(crate) fn fit_reason(reason: &str) -> String {
    reason.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_result(text: &str) -> (usize, &str, Outcome) {
        match Line::read(text) {
            Line::Result {
                number,
                name,
                outcome,
            } => (number, name, outcome),
            other => panic!("{text:?} was read as {other:?}"),
        }
    }

    #[test]
    fn results_with_and_without_decoration() {
        assert_eq!(read_result("ok 1 first"), (1, "first", Outcome::Passed));
        assert_eq!(read_result("ok 2 - a b\r"), (2, "a b", Outcome::Passed));
        assert_eq!(read_result("ok 3"), (3, "", Outcome::Passed));
        assert_eq!(read_result("not ok 4 x # why"), (4, "x", Outcome::Failed));
    }

    #[test]
    fn directives() {
        let skipped = Outcome::Skipped("no device".to_owned());
        assert_eq!(read_result("ok 1 a # SKIP no device"), (1, "a", skipped));
        assert_eq!(read_result("ok 1 a # TIMEOUT"), (1, "a", Outcome::Failed));
        assert_eq!(
            read_result("ok 1 a # ERROR died"),
            (1, "a", Outcome::Failed)
        );
        assert_eq!(read_result("ok 1 a # fast"), (1, "a", Outcome::Passed));
        assert_eq!(
            read_result("not ok 1 a # SKIP no"),
            (1, "a", Outcome::Failed)
        );
    }

    #[test]
    fn plans() {
        assert_eq!(
            Line::read("1..7"),
            Line::Plan {
                count: 7,
                skip: None
            }
        );
        let empty = Line::Plan {
            count: 0,
            skip: Some("nothing here"),
        };
        assert_eq!(Line::read("1..0 # SKIP nothing here"), empty);
    }

    #[test]
    fn what_is_not_ktap() {
        for text in [
            "",
            "okay 1",
            "ok computer",
            "not ok",
            "1..x",
            "KTAP version 2",
            "ok -1 x",
        ] {
            assert_eq!(Line::read(text), Line::Other, "{text:?}");
        }
    }

    #[test]
    fn text_is_made_to_fit() {
        assert_eq!(fit_name(" a#b\nc "), "a_b_c");
        assert_eq!(fit_reason("two\nlines  here"), "two lines here");
    }
}
