// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the module has counted, from its files in debugfs.

use crate::failure::{Check, Failure};
use hcall_ktap::{CaseResult, Verdict};
use std::fs;
use std::path::Path;

const DEBUGFS: &str = "/sys/kernel/debug";
/// The module's directory there.
pub(crate) const DIRECTORY: &str = "/sys/kernel/debug/hcall";

/// A check that needs debugfs, as a case.
pub(crate) fn if_counted(check: impl FnOnce() -> Check) -> CaseResult {
    let is_mounted = fs::read_dir(DEBUGFS).is_ok_and(|mut entries| entries.next().is_some());
    if is_mounted {
        crate::failure::passes(check())
    } else {
        Ok(Verdict::Skip("this kernel has no debugfs".to_owned()))
    }
}

/// The statistics.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) enabled: String,
    pub(crate) refused: u64,
    /// `USED of MOST`.
    pub(crate) numbers: String,
    pub(crate) rows: Vec<Row>,
}

/// What calls of one number came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) number: String,
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) nanoseconds: u64,
    /// Logarithms and counts.
    pub(crate) latency: Vec<(u32, u64)>,
}

impl Counted {
    pub(crate) fn read() -> Result<Self, Failure> {
        let text = fs::read_to_string(Path::new(DIRECTORY).join("statistics"))?;
        Self::parse(&text).ok_or_else(|| Failure::new(format!("another format:\n{text}")))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let enabled = lines.next()?.strip_prefix("enabled ")?.to_owned();
        let refused = lines.next()?.strip_prefix("refused ")?.parse().ok()?;
        let numbers = lines.next()?.strip_prefix("numbers ")?.to_owned();
        let titles: Vec<&str> = lines.next()?.split_whitespace().collect();
        if titles != ["number", "calls", "errors", "nanoseconds", "latency"] {
            return None;
        }
        Some(Self {
            enabled,
            refused,
            numbers,
            rows: lines.map(Row::parse).collect::<Option<_>>()?,
        })
    }

    /// The row of a number; one of zeros if it has none.
    pub(crate) fn row(&self, number: impl std::fmt::Display) -> Row {
        let name = number.to_string();
        let row = self.rows.iter().find(|row| row.number == name);
        row.cloned().unwrap_or(Row {
            number: name,
            ..Row::default()
        })
    }
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let number = words.next()?.to_owned();
        let mut next = || words.next()?.parse().ok();
        let (calls, errors, nanoseconds) = (next()?, next()?, next()?);
        let latency = words.map(|word| {
            let (bucket, calls) = word.split_once(':')?;
            Some((bucket.parse().ok()?, calls.parse().ok()?))
        });
        Some(Self {
            number,
            calls,
            errors,
            nanoseconds,
            latency: latency.collect::<Option<_>>()?,
        })
    }

    pub(crate) fn in_histogram(&self) -> u64 {
        self.latency.iter().map(|(_, calls)| calls).sum()
    }
}

/// Writes one of the files; the kernel's refusal is the inner result.
pub(crate) fn write(file: &str, text: &str) -> Result<(), std::io::Error> {
    fs::write(Path::new(DIRECTORY).join(file), text)
}

/// Statistics that are on, and empty; off again, and empty, when dropped.
#[derive(Debug)]
pub(crate) struct Counting;

impl Counting {
    pub(crate) fn start() -> Result<Self, Failure> {
        write("enable", "1")?;
        let counting = Self;
        write("reset", "1")?;
        Ok(counting)
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // What is wrong with them, the check itself has found.
        let _ = write("enable", "0");
        let _ = write("reset", "1");
    }
}
