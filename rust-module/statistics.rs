// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! Statistics: of each number how many calls there were, how many failed, and how long they
//! took. A probe of the tracepoint counts, which is there only while statistics are on;
//! `statistics.c` has the switch and the files.
//!
//! The table is of one size, whatever is called: the first numbers have a row each, all later
//! ones share one. Counting takes no lock, and can be done in every context.

use crate::parameters;
use core::fmt;
use kernel::bindings;
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::seq_file::SeqFile;
use kernel::seq_print;
use kernel::sync::atomic::{Atomic, Relaxed};

/// How many numbers have a row of their own.
const ROWS: usize = 128;

/// Bucket n counts calls of 2^n nanoseconds up to twice that; the first those of 0 as well,
/// the last all that took longer.
const BUCKETS: usize = 32;

/// Calls that policy has refused, whether statistics are on or not.
static REFUSED: Atomic<u64> = Atomic::new(0);

static TABLE: Table = Table {
    numbers: [const { Atomic::new(0) }; ROWS],
    rows: [const { Row::new() }; ROWS],
    others: Row::new(),
};

extern "C" {
    fn hcall_statistics_add(on: bool) -> c_int;
    fn hcall_statistics_remove();
}

/// The files, and the probe while it is registered; gone when dropped.
pub(crate) struct Statistics(());

impl Statistics {
    /// Where there is no debugfs, there are no files. Nothing that comes after this may fail
    /// to load the module: somebody can have a file open by then.
    pub(crate) fn begin() -> Self {
        let on = parameters::statistics();
        // SAFETY: called once, when all that it uses is there; a value of this type undoes it.
        if let Err(error) = to_result(unsafe { hcall_statistics_add(on) }) {
            pr_warn!("statistics cannot be switched on: {error:?}\n");
        }
        Self(())
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        // SAFETY: a value of this type exists only after `hcall_statistics_add`.
        unsafe { hcall_statistics_remove() };
    }
}

/// Counts a call that policy has refused.
pub(crate) fn count_refusal() {
    REFUSED.add(1, Relaxed);
}

/// What calls of one number came to.
#[repr(align(64))] // Calls of different numbers share no cache line.
struct Row {
    errors: Atomic<u64>,
    nanoseconds: Atomic<u64>,
    /// Their sum is the number of calls.
    latency: [Atomic<u64>; BUCKETS],
}

impl Row {
    const fn new() -> Self {
        Self {
            errors: Atomic::new(0),
            nanoseconds: Atomic::new(0),
            latency: [const { Atomic::new(0) }; BUCKETS],
        }
    }

    fn count(&self, result: i64, nanoseconds: u64) {
        let bucket = nanoseconds.checked_ilog2().unwrap_or(0) as usize;
        if let Some(count) = self.latency.get(bucket).or(self.latency.last()) {
            count.add(1, Relaxed);
        }
        self.nanoseconds.add(nanoseconds, Relaxed);
        if result < 0 {
            self.errors.add(1, Relaxed);
        }
    }

    fn calls(&self) -> u64 {
        self.latency
            .iter()
            .fold(0, |sum: u64, count| sum.wrapping_add(count.load(Relaxed)))
    }

    fn clear(&self) {
        self.errors.store(0, Relaxed);
        self.nanoseconds.store(0, Relaxed);
        for count in &self.latency {
            count.store(0, Relaxed);
        }
    }
}

/// `calls errors nanoseconds bucket:calls …`
impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (errors, nanoseconds) = (self.errors.load(Relaxed), self.nanoseconds.load(Relaxed));
        write!(formatter, "{:>12} {errors:>12} {nanoseconds:>16} ", self.calls())?;
        for (bucket, count) in self.latency.iter().enumerate() {
            match count.load(Relaxed) {
                0 => {}
                count => write!(formatter, " {bucket}:{count}")?,
            }
        }
        Ok(())
    }
}

struct Table {
    /// Whose the rows are; 0, which no call can have, of a free one. Together, so that a
    /// number that is not here is soon known not to be.
    numbers: [Atomic<u32>; ROWS],
    rows: [Row; ROWS],
    others: Row,
}

impl Table {
    /// The row of a number: the one it has, or a free one, or the one that is shared. The
    /// search begins at a place that depends on the number.
    fn row(&self, number: u32) -> &Row {
        let start = (number.wrapping_mul(0x9e37_79b9) >> 16) as usize % ROWS;
        (0..ROWS)
            .map(|step| (start + step) % ROWS)
            .filter_map(|index| Some((self.numbers.get(index)?, self.rows.get(index)?)))
            .find(|(place, _)| is_of(place, number))
            .map_or(&self.others, |(_, row)| row)
    }

    /// Nobody may count meanwhile.
    fn clear(&self) {
        for number in &self.numbers {
            number.store(0, Relaxed);
        }
        self.rows.iter().for_each(Row::clear);
        self.others.clear();
    }

    fn show(&self, seq: &SeqFile) {
        let used = || {
            self.numbers
                .iter()
                .map(|number| number.load(Relaxed))
                .zip(&self.rows)
                .filter(|(number, _)| *number != 0)
        };
        seq_print!(seq, "numbers {} of {ROWS}\n", used().count());
        seq_print!(
            seq,
            "{:<10} {:>12} {:>12} {:>16}  {}\n",
            "number",
            "calls",
            "errors",
            "nanoseconds",
            "latency"
        );
        for (number, row) in used() {
            seq_print!(seq, "{}\n", format_args!("{number:#010x} {row}"));
        }
        seq_print!(seq, "{}\n", format_args!("{:<10} {}", "others", self.others));
    }
}

/// Whether the place is the number's, which takes it if it is free.
fn is_of(place: &Atomic<u32>, number: u32) -> bool {
    match place.load(Relaxed) {
        0 => match place.cmpxchg(0, number, Relaxed) {
            Ok(_) => true,
            Err(other) => other == number,
        },
        other => other == number,
    }
}

/// The probe.
///
/// # Safety
///
/// None is asked for: of the pointers it uses none.
#[no_mangle]
unsafe extern "C" fn hcall_statistics_count(
    _data: *mut c_void,
    number: u32,
    _arguments: *const u64,
    result: i64,
    duration: u64,
) {
    TABLE.row(number).count(result, duration);
}

/// Shows everything but the state of the switch, which is above it.
///
/// # Safety
///
/// The file must be there for this thread alone.
#[no_mangle]
unsafe extern "C" fn hcall_statistics_show(seq: *mut bindings::seq_file) {
    // SAFETY: the caller's promise.
    let seq = unsafe { SeqFile::from_raw(seq) };
    seq_print!(seq, "refused {}\n", REFUSED.load(Relaxed));
    TABLE.show(seq);
}

/// Forgets everything.
///
/// # Safety
///
/// The probe must not be registered: what it counted meanwhile could end in a row of another
/// number.
#[no_mangle]
unsafe extern "C" fn hcall_statistics_clear() {
    REFUSED.store(0, Relaxed);
    TABLE.clear();
}
