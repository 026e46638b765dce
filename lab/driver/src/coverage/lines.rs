// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines and whether they were executed, from LLVM's report in the format of lcov.

use std::collections::BTreeMap;

use anyhow::{bail, Context, Result};

/// The judged files, and of each the lines that can be executed: whether they were.
#[derive(Debug, Default)]
pub(crate) struct Files(BTreeMap<String, BTreeMap<u32, bool>>);

impl Files {
    /// Reads a report. `judged` gives the name of a file that counts.
    pub(crate) fn of_lcov(
        report: &[String],
        judged: impl Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let mut files = Self::default();
        let mut lines = None;
        for entry in report {
            match entry.split_once(':') {
                Some(("SF", file)) => {
                    lines = judged(file).map(|name| files.0.entry(name).or_default());
                }
                Some(("DA", line)) => {
                    if let Some(lines) = &mut lines {
                        let (number, executed) = parse(line)?;
                        *lines.entry(number).or_default() |= executed;
                    }
                }
                _ => {}
            }
        }
        if files.0.is_empty() {
            bail!("LLVM reports no line of the module");
        }
        Ok(files)
    }

    /// Whether at least `least` of a hundred lines were executed.
    pub(crate) fn reach(&self, least: u32) -> bool {
        let (executed, all) = self.total();
        executed * 100 >= all * least as usize
    }

    fn total(&self) -> (usize, usize) {
        let mut total = (0, 0);
        for (executed, all) in self.0.values().map(count) {
            total.0 += executed;
            total.1 += all;
        }
        total
    }

    /// One row for each file, and the sum.
    pub(crate) fn table(&self) -> Vec<String> {
        let rows = self.0.iter().map(|(name, lines)| row(name, count(lines)));
        rows.chain([row("all lines", self.total())]).collect()
    }

    /// `FILE:LINE`, one in a row.
    pub(crate) fn not_executed(&self) -> String {
        let mut text = String::new();
        for (name, lines) in &self.0 {
            for (number, _) in lines.iter().filter(|(_, executed)| !**executed) {
                text.push_str(&format!("{name}:{number}\n"));
            }
        }
        text
    }
}

/// Executed lines, and all.
fn count(lines: &BTreeMap<u32, bool>) -> (usize, usize) {
    let executed = lines.values().filter(|executed| **executed).count();
    (executed, lines.len())
}

fn row(name: &str, (executed, all): (usize, usize)) -> String {
    // Of a thousand, rounded down, so that 100 % is all of them.
    let share = executed * 1000 / all.max(1);
    let (whole, tenth) = (share / 10, share % 10);
    format!("{executed:5} of {all:5} lines {whole:3}.{tenth} %  {name}")
}

/// `LINE,COUNT`.
fn parse(line: &str) -> Result<(u32, bool)> {
    let context = || format!("`{line}` is no line of lcov's");
    let (number, count) = line.split_once(',').with_context(context)?;
    Ok((number.parse().with_context(context)?, count != "0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(report: &str) -> Files {
        let report: Vec<String> = report.lines().map(str::to_owned).collect();
        let judged = |file: &str| file.strip_prefix("/x/").map(str::to_owned);
        Files::of_lcov(&report, judged).expect("a report")
    }

    #[test]
    fn lines_are_counted_once_however_often_their_file_is_named() {
        let files = read(
            "SF:/x/a.rs\nDA:1,7\nDA:2,0\nend_of_record\nSF:/y/b.rs\nDA:1,0\nend_of_record\n\
             SF:/x/a.rs\nDA:2,1\nDA:3,0\nDA:4,1\nend_of_record\n",
        );
        assert_eq!(
            files.table(),
            [
                "    3 of     4 lines  75.0 %  a.rs",
                "    3 of     4 lines  75.0 %  all lines"
            ]
        );
        assert_eq!(files.not_executed(), "a.rs:3\n");
        assert!(files.reach(75) && !files.reach(76));
    }

    #[test]
    fn a_report_without_the_module_is_an_error() {
        assert!(Files::of_lcov(&["SF:/y/b.rs".to_owned()], |_| None).is_err());
        let broken = ["SF:b".to_owned(), "DA:x,1".to_owned()];
        assert!(Files::of_lcov(&broken, |file| Some(file.to_owned())).is_err());
    }
}
