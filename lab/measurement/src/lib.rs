// SPDX-License-Identifier: MIT OR Apache-2.0
//! A measured value: one line on a console, to be found there again, and compared with
//! the same value of another run.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};
use std::fmt;

/// What the line of a measurement begins with, after the `#` that makes it a diagnostic
/// of KTAP.
const MARK: &str = "BENCH ";
/// The same of a value that could not be measured.
const MISSING_MARK: &str = "BENCH-MISSING ";

/// What a value is a number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Nanoseconds of wall-clock time.
    Nanoseconds,
    /// Microseconds of wall-clock time.
    Microseconds,
    /// One time divided by another of the same run: less is better.
    Ratio,
    /// The same, where more is better.
    Gain,
    /// Events, such as system calls or exits.
    Count,
    /// Events for each call, where how many there are depends on who runs when: judged by
    /// the limit alone, and not by another run's value.
    PerCall,
    /// Instructions of a guest.
    Instructions,
    /// Events in a second: more is better.
    PerSecond,
}

impl Unit {
    /// How much worse, as a fraction, a value may be than another run's before it counts
    /// as a regression: what was counted is the same each time, times on a machine that
    /// does other things besides are not.
    pub const fn tolerance(self) -> f64 {
        match self {
            Self::Count => 0.0,
            Self::PerCall => f64::INFINITY,
            Self::Instructions => 0.02,
            Self::Ratio => 0.05,
            Self::Gain => 0.25,
            Self::Nanoseconds | Self::Microseconds | Self::PerSecond => 0.25,
        }
    }

    /// The sign behind a value.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Microseconds => "us",
            Self::Ratio | Self::Gain => "x",
            Self::Count => "",
            Self::PerCall => "a call",
            Self::Instructions => "instructions",
            Self::PerSecond => "/s",
        }
    }
}

/// A measured value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// What was measured, and how: `group/detail`.
    pub name: String,
    /// The median, unless `name` says otherwise.
    pub value: f64,
    /// Of what.
    pub unit: Unit,
    /// The first and the third quartile, where there were several samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quartiles: Option<(f64, f64)>,
    /// The value must not be above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
}

impl Measurement {
    /// A single value.
    pub fn new(name: impl Into<String>, value: f64, unit: Unit) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            quartiles: None,
            limit: None,
        }
    }

    /// The median of `samples`, and their quartiles; `None` if there are no samples.
    pub fn median_of(name: impl Into<String>, mut samples: Vec<f64>, unit: Unit) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let at = |quarter: usize| samples.get((samples.len().checked_sub(1)?) * quarter / 4);
        let quartiles = Some((*at(1)?, *at(3)?));
        Some(Self {
            quartiles,
            ..Self::new(name, *at(2)?, unit)
        })
    }

    /// With the highest value that is right.
    #[must_use]
    pub fn at_most(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// What is wrong with the value, if its limit says that something is.
    pub fn excess(&self) -> Option<String> {
        let limit = self.limit.filter(|limit| self.value > *limit)?;
        let (name, value, sign) = (&self.name, self.value, self.unit.sign());
        Some(format!("{name}: {value:.3} {sign}, limit {limit} {sign}"))
    }

    /// The line for a console.
    pub fn line(&self) -> String {
        // Neither a number nor a text of this kind can fail to be JSON.
        let json = serde_json::to_string(self).unwrap_or_default();
        format!("{MARK}{json}")
    }

    /// The measurement in a line of a console, if it holds one.
    pub fn find(line: &str) -> Option<Self> {
        let (_, json) = line.split_once(MARK)?;
        serde_json::from_str(json.trim()).ok()
    }

    /// How this value compares with `before`, which was measured in another run.
    pub fn compare(&self, before: &Self) -> Change {
        let worse = match self.unit {
            Unit::PerSecond | Unit::Gain => before.value - self.value,
            _ => self.value - before.value,
        };
        if self.unit == Unit::PerCall {
            return Change::Same;
        }
        let allowed = before.value.abs() * self.unit.tolerance();
        match worse {
            worse if worse > allowed => Change::Worse,
            worse if -worse > allowed => Change::Better,
            _ => Change::Same,
        }
    }
}

impl fmt::Display for Measurement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.unit {
            Unit::Count | Unit::Instructions | Unit::PerSecond => 0,
            Unit::Ratio => 3,
            Unit::PerCall => 4,
            _ => 1,
        };
        let (value, sign) = (self.value, self.unit.sign());
        write!(formatter, "{value:.digits$} {sign}")?;
        if let Some((first, third)) = self.quartiles {
            write!(formatter, "  ({first:.digits$} to {third:.digits$})")?;
        }
        Ok(())
    }
}

/// A value that could not be measured, which a table says in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// What would have been measured.
    pub name: String,
    /// Why it was not.
    pub reason: String,
}

impl Missing {
    /// `name` was not measured, for this reason.
    pub fn new(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            reason: reason.into(),
        }
    }

    /// The line for a console.
    pub fn line(&self) -> String {
        // Two texts cannot fail to be JSON.
        let json = serde_json::to_string(self).unwrap_or_default();
        format!("{MISSING_MARK}{json}")
    }

    /// What is missing by a line of a console, if it says so.
    pub fn find(line: &str) -> Option<Self> {
        let (_, json) = line.split_once(MISSING_MARK)?;
        serde_json::from_str(json.trim()).ok()
    }
}

/// How a value compares with another run's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Better by more than the unit's tolerance.
    Better,
    /// Within it.
    Same,
    /// Worse by more than it: a regression.
    Worse,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_on_a_console_is_found_again() {
        let measurement = Measurement::median_of("a/b", vec![3.0, 1.0, 2.0], Unit::Ratio)
            .expect("there are samples")
            .at_most(1.5);
        let line = format!("# {}\r", measurement.line());
        assert_eq!(Measurement::find(&line), Some(measurement.clone()));
        assert!(measurement.excess().expect("2 > 1.5").contains("a/b"));
        assert_eq!(measurement.to_string(), "2.000 x  (1.000 to 2.000)");
        for other in ["", "BENCH {", "BENCH", "ok 1 a"] {
            assert_eq!(Measurement::find(other), None, "{other}");
        }
        assert_eq!(Measurement::median_of("a", vec![], Unit::Count), None);
    }

    #[test]
    fn what_is_missing_is_no_value() {
        let missing = Missing::new("a/b", "there is none");
        let line = format!("# {}\r", missing.line());
        assert_eq!(Missing::find(&line), Some(missing));
        assert_eq!(Measurement::find(&line), None);
        let value = Measurement::new("a", 1.0, Unit::Count).line();
        assert_eq!(Missing::find(&value), None);
    }

    #[test]
    fn comparisons() {
        let of = |value, unit| Measurement::new("a", value, unit);
        let compare = |unit, before, now| of(now, unit).compare(&of(before, unit));
        assert_eq!(compare(Unit::Count, 1.0, 1.0), Change::Same);
        assert_eq!(compare(Unit::Count, 1.0, 2.0), Change::Worse);
        assert_eq!(compare(Unit::Nanoseconds, 100.0, 110.0), Change::Same);
        assert_eq!(compare(Unit::Nanoseconds, 100.0, 130.0), Change::Worse);
        assert_eq!(compare(Unit::Nanoseconds, 100.0, 60.0), Change::Better);
        assert_eq!(compare(Unit::PerSecond, 100.0, 60.0), Change::Worse);
        assert_eq!(compare(Unit::PerCall, 0.0, 0.01), Change::Same);
    }
}
