// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the module counts, from its files in debugfs; their format is in the module's README.

use crate::failure::Failure;
use hcall_guest::abi::number::HypercallNumber;
use serde_json::{json, Value};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

const DEBUGFS: &str = "/sys/kernel/debug";
/// The module's directory there.
const DIRECTORY: &str = "/sys/kernel/debug/hcall";

/// The last bucket of a histogram, which has no upper end.
const LAST_BUCKET: u32 = 31;

/// The statistics of this guest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Statistics {
    enabled: bool,
    /// Calls that policy has refused.
    refused: u64,
    /// How many numbers can have a row of their own.
    capacity: usize,
    rows: Vec<Row>,
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    /// `None`: numbers that came when all rows were taken.
    number: Option<u32>,
    calls: u64,
    errors: u64,
    nanoseconds: u64,
    /// Calls that took 2^n nanoseconds up to twice that.
    latency: Vec<(u32, u64)>,
}

/// What can be done to the statistics.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Enable,
    Disable,
    Reset,
}

impl Change {
    fn file_and_text(self) -> (&'static str, &'static str) {
        match self {
            Self::Enable => ("enable", "1\n"),
            Self::Disable => ("enable", "0\n"),
            Self::Reset => ("reset", "1\n"),
        }
    }

    pub(crate) fn make(self) -> Result<(), Failure> {
        let (file, text) = self.file_and_text();
        let path = Path::new(DIRECTORY).join(file);
        fs::write(&path, text).map_err(|error| unavailable(&path, &error))
    }
}

impl Statistics {
    pub(crate) fn read() -> Result<Self, Failure> {
        let path = Path::new(DIRECTORY).join("statistics");
        let text = fs::read_to_string(&path).map_err(|error| unavailable(&path, &error))?;
        Self::parse(&text).ok_or_else(|| {
            Failure::Unavailable(format!(
                "{} is of another version of the module than this command",
                path.display()
            ))
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let enabled = lines.next()?.strip_prefix("enabled ")?;
        let refused = lines.next()?.strip_prefix("refused ")?;
        let (_, capacity) = lines.next()?.strip_prefix("numbers ")?.split_once(" of ")?;
        lines.next()?.starts_with("number ").then_some(())?;
        let mut rows = lines.map(Row::parse).collect::<Option<Vec<Row>>>()?;
        // `others` last, which has none.
        rows.sort_by_key(|row| row.number.unwrap_or(u32::MAX));
        Some(Self {
            enabled: enabled == "1",
            refused: refused.parse().ok()?,
            capacity: capacity.parse().ok()?,
            rows,
        })
    }

    /// Lines for people.
    pub(crate) fn text(&self) -> String {
        let state = if self.enabled { "on" } else { "off" };
        let mut text = format!(
            "guest: statistics {state}, {} calls refused\n{:<14} {:>10} {:>10} {:>10} {:>10} {:>10}\n",
            self.refused, "number", "calls", "errors", "mean", "50% below", "99% below"
        );
        for row in self.rows.iter().filter(|row| row.is_shown()) {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{:<14} {:>10} {:>10} {:>10} {:>10} {:>10}",
                row.name(),
                row.calls,
                row.errors,
                duration(row.nanoseconds.checked_div(row.calls)),
                duration(row.below(50)),
                duration(row.below(99)),
            );
        }
        text
    }

    /// One object for programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "enabled": self.enabled,
            "refused": self.refused,
            "capacity": self.capacity,
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
        })
    }
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let number = match words.next()? {
            "others" => None,
            number => Some(u32::from_str_radix(number.strip_prefix("0x")?, 16).ok()?),
        };
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

    fn is_shown(&self) -> bool {
        self.number.is_some() || self.calls != 0
    }

    fn name(&self) -> String {
        self.number.map_or_else(|| "others".to_owned(), name_of)
    }

    /// A time in nanoseconds that so many of a hundred calls stayed below; `None` if there
    /// were no calls, or it is beyond the histogram.
    fn below(&self, percent: u64) -> Option<u64> {
        let calls: u64 = self.latency.iter().map(|(_, calls)| calls).sum();
        let mut seen = 0;
        let (bucket, _) = self.latency.iter().find(|(_, calls_here)| {
            seen += calls_here;
            u128::from(seen) * 100 >= u128::from(calls) * u128::from(percent)
        })?;
        end_of(*bucket)
    }

    fn json(&self) -> Value {
        let latency = self.latency.iter().map(|(bucket, calls)| {
            let from = if *bucket == 0 { 0 } else { 1_u64 << bucket };
            json!({"from_ns": from, "below_ns": end_of(*bucket), "calls": calls})
        });
        json!({
            "number": self.number,
            "name": self.number.map(name_of),
            "calls": self.calls,
            "errors": self.errors,
            "nanoseconds": self.nanoseconds,
            "latency": latency.collect::<Vec<_>>(),
        })
    }
}

/// The name of a core call, or the number.
pub(crate) fn name_of(number: u32) -> String {
    HypercallNumber::new(number)
        .ok()
        .and_then(HypercallNumber::name)
        .map_or_else(|| format!("{number:#x}"), str::to_owned)
}

/// Where a bucket ends, if it does.
fn end_of(bucket: u32) -> Option<u64> {
    (bucket < LAST_BUCKET).then(|| 2 << bucket)
}

/// A duration with three figures or so.
fn duration(nanoseconds: Option<u64>) -> String {
    match nanoseconds {
        None => "-".to_owned(),
        Some(nanoseconds @ 0..10_000) => format!("{nanoseconds} ns"),
        Some(nanoseconds @ 10_000..10_000_000) => format!("{} us", nanoseconds / 1000),
        Some(nanoseconds) => format!("{} ms", nanoseconds / 1_000_000),
    }
}

/// Why a file of the module's cannot be used, and what to do.
fn unavailable(path: &Path, error: &io::Error) -> Failure {
    let place = path.display();
    Failure::Unavailable(match error.kind() {
        ErrorKind::PermissionDenied => {
            format!("cannot use {place}: only root may, and a locked-down kernel lets nobody")
        }
        ErrorKind::NotFound if !is_mounted() => {
            format!("there is no debugfs: mount -t debugfs debugfs {DEBUGFS}")
        }
        ErrorKind::NotFound => {
            format!("{place} is not there: is the module hcall loaded? (modprobe hcall)")
        }
        _ => format!("cannot use {place}: {error}"),
    })
}

/// Whether there is anything in the directory; a kernel always has something in debugfs.
fn is_mounted() -> bool {
    fs::read_dir(DEBUGFS).is_ok_and(|mut entries| entries.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
enabled 1
refused 3
numbers 2 of 128
number            calls       errors      nanoseconds  latency
0x48438001          100            1           300000  10:50 11:49 14:1
0x48430002            2            0       8000000000  31:2
others                0            0                0 
";

    #[test]
    fn the_file_is_read() {
        let statistics = Statistics::parse(FILE).expect("the module's format");
        assert!(statistics.enabled);
        assert_eq!((statistics.refused, statistics.capacity), (3, 128));
        let row = Row {
            number: Some(0x4843_8001),
            calls: 100,
            errors: 1,
            nanoseconds: 300_000,
            latency: vec![(10, 50), (11, 49), (14, 1)],
        };
        assert_eq!(statistics.rows[1], row);
        assert_eq!((row.below(50), row.below(99)), (Some(2048), Some(4096)));
        assert_eq!(row.below(100), Some(32768));
    }

    #[test]
    fn people_see_a_table() {
        let text = Statistics::parse(FILE).expect("the module's format").text();
        let expected = "\
guest: statistics on, 3 calls refused
number              calls     errors       mean  50% below  99% below
ECHO                    2          0    4000 ms          -          -
0x48438001            100          1    3000 ns    2048 ns    4096 ns
";
        assert_eq!(text, expected);
    }

    #[test]
    fn programs_see_the_histogram() {
        let json = Statistics::parse(FILE).expect("the module's format").json();
        assert_eq!(json["rows"][0]["name"], "ECHO");
        assert_eq!(json["rows"][0]["latency"][0]["below_ns"], Value::Null);
        let bucket = json!({"from_ns": 1024, "below_ns": 2048, "calls": 50});
        assert_eq!(json["rows"][1]["latency"][0], bucket);
        assert_eq!(json["rows"][2]["number"], Value::Null);
    }

    #[test]
    fn another_format_is_refused() {
        let one_less = FILE.replace("refused 3\n", "");
        let no_number = FILE.replace("0x48430002", "48430002");
        let short = FILE.replace("       8000000000  31:2", "");
        for other in [
            "",
            &one_less,
            &no_number,
            &short,
            &FILE.replace("31:2", "31"),
        ] {
            assert_eq!(Statistics::parse(other), None, "{other}");
        }
    }
}
