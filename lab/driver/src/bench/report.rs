// SPDX-License-Identifier: MIT OR Apache-2.0
//! The results of a run: as a table, as a file, and beside another run's.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use hcall_ktap::{Outcome, Report as Ktap};
use hcall_measurement::{Change, Measurement, Missing};
use serde::{Deserialize, Serialize};

use super::facts::Facts;

/// Everything that a run measured.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) facts: Facts,
    pub(super) places: Vec<Place>,
}

/// A machine, and what was measured there.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) measurements: Vec<Measurement>,
    /// What cannot be measured there, and why.
    #[serde(default)]
    pub(super) missing: Vec<Missing>,
    /// What went wrong when it was measured, or was above its limit.
    #[serde(default)]
    pub(super) failures: Vec<String>,
}

impl Place {
    pub(super) fn new(name: &str, measurements: Vec<Measurement>) -> Self {
        Self {
            name: name.to_owned(),
            measurements,
            missing: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// A machine that cannot be had, for this reason.
    pub(super) fn missing(name: &str, reason: &str) -> Self {
        Self {
            missing: vec![Missing::new("everything", reason)],
            ..Self::new(name, Vec::new())
        }
    }

    /// What hcall-bench said there.
    pub(super) fn of_console(name: &str, lines: &[String]) -> Self {
        let ktap = Ktap::parse(lines.iter().map(String::as_str));
        let skipped = ktap.tests.iter().filter_map(|test| match &test.outcome {
            Outcome::Skipped(reason) => Some(Missing::new(&test.name, reason)),
            _ => None,
        });
        let left_out = lines.iter().filter_map(|line| Missing::find(line));
        Self {
            missing: left_out.chain(skipped).collect(),
            failures: ktap
                .failed_names()
                .iter()
                .map(|case| format!("{name}: {case}"))
                .collect(),
            ..Self::new(
                name,
                lines
                    .iter()
                    .filter_map(|line| Measurement::find(line))
                    .collect(),
            )
        }
    }

    fn find(&self, name: &str) -> Option<&Measurement> {
        self.measurements.iter().find(|one| one.name == name)
    }
}

impl Report {
    pub(super) fn new(facts: Facts) -> Self {
        Self {
            facts,
            places: Vec::new(),
        }
    }

    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("cannot read the baseline {}", file.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is no result of a benchmark", file.display()))
    }

    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("the results are no JSON")?;
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    pub(super) fn failures(&self) -> Vec<String> {
        self.places
            .iter()
            .flat_map(|place| place.failures.clone())
            .collect()
    }

    /// What is worse than in `baseline` by more than its tolerance.
    pub(super) fn regressions(&self, baseline: &Self) -> Vec<String> {
        self.with_baseline(baseline)
            .filter(|(_, now, before)| now.compare(before) == Change::Worse)
            .map(|(place, now, before)| {
                let allowed = now.unit.tolerance() * 100.0;
                let name = &now.name;
                format!("{place}: {name}: {before} before, {now} now (tolerance {allowed:.0} %)")
            })
            .collect()
    }

    fn with_baseline<'a>(
        &'a self,
        baseline: &'a Self,
    ) -> impl Iterator<Item = (&'a str, &'a Measurement, &'a Measurement)> {
        self.places.iter().flat_map(move |place| {
            place.measurements.iter().filter_map(move |now| {
                let before = baseline.find(&place.name, &now.name)?;
                Some((place.name.as_str(), now, before))
            })
        })
    }

    /// What `other` has no value of.
    fn not_in<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a str, &'a Measurement)> {
        self.places.iter().flat_map(move |place| {
            let name = place.name.as_str();
            let here = place.measurements.iter().map(move |one| (name, one));
            here.filter(|(place, one)| other.find(place, &one.name).is_none())
        })
    }

    fn find(&self, place: &str, name: &str) -> Option<&Measurement> {
        let place = self.places.iter().find(|one| one.name == place)?;
        place.find(name)
    }

    pub(super) fn facts_table(&self) -> String {
        let lines = self.facts.iter();
        lines.fold(String::new(), |mut table, (name, value)| {
            let _ = writeln!(table, "  {name:<20} {value}");
            table
        })
    }

    pub(super) fn table(&self, baseline: Option<&Self>) -> String {
        let mut table = String::new();
        for place in &self.places {
            let _ = writeln!(table, "\n{}", place.name);
            for now in &place.measurements {
                let _ = write!(table, "  {:<78} {now}", now.name);
                if let Some(limit) = now.limit {
                    let _ = write!(table, "  [limit {limit}]");
                }
                let before = baseline.and_then(|baseline| baseline.find(&place.name, &now.name));
                if let Some(before) = before {
                    let change = match now.compare(before) {
                        Change::Better => ", better",
                        Change::Same => "",
                        Change::Worse => ", WORSE",
                    };
                    let _ = write!(table, "  (before: {before}{change})");
                }
                let _ = writeln!(table);
            }
            for missing in &place.missing {
                let _ = writeln!(table, "  {:<78} not here: {}", missing.name, missing.reason);
            }
        }
        for (place, before) in baseline.into_iter().flat_map(|old| old.not_in(self)) {
            let _ = writeln!(
                table,
                "\nnot measured now: {place}: {} (before: {before})",
                before.name
            );
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hcall_measurement::Unit;

    fn report(value: f64) -> Report {
        let mut report = Report::new(Facts::new());
        let exits = Measurement::new("exits", value, Unit::Count);
        report.places.push(Place::new("here", vec![exits]));
        report
    }

    #[test]
    fn what_is_worse_than_before_is_named() {
        assert!(report(1.0).regressions(&report(1.0)).is_empty());
        assert!(report(1.0).regressions(&report(2.0)).is_empty());
        let worse = report(2.0).regressions(&report(1.0));
        assert_eq!(worse, ["here: exits: 1  before, 2  now (tolerance 0 %)"]);
        let table = report(2.0).table(Some(&report(1.0)));
        assert!(table.contains("WORSE"), "{table}");
        let table = Report::new(Facts::new()).table(Some(&report(1.0)));
        assert!(table.contains("not measured now: here: exits"), "{table}");
    }

    #[test]
    fn a_console_is_understood() {
        let exits = Measurement::new("exits", 1.0, Unit::Count);
        let lines = [
            "KTAP version 1".to_owned(),
            "1..3".to_owned(),
            format!("# {}", exits.line()),
            "ok 1 a".to_owned(),
            "not ok 2 b".to_owned(),
            "ok 3 c # SKIP no c here".to_owned(),
            format!("# {}", Missing::new("d", "no d").line()),
        ];
        let place = Place::of_console("here", &lines);
        assert_eq!(place.measurements, [exits]);
        assert_eq!(place.failures, ["here: b"]);
        let missing = [Missing::new("d", "no d"), Missing::new("c", "no c here")];
        assert_eq!(place.missing, missing);
        let table = Report {
            facts: Facts::new(),
            places: vec![place],
        }
        .table(None);
        assert!(table.contains("not here: no c here"), "{table}");
    }

    #[test]
    fn the_file_is_read_again() {
        let text = serde_json::to_string(&report(1.0)).expect("JSON");
        let read: Report = serde_json::from_str(&text).expect("the same");
        assert!(report(1.0).regressions(&read).is_empty());
    }
}
