// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts between processors, as `/proc/interrupts` counts them.

use super::pin;
use crate::failure::{Check, Failure};
use rustix::thread::{membarrier, MembarrierCommand};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Interrupts by which one processor has another reschedule, or call a function.
pub(super) const BETWEEN: [&str; 2] = ["RES", "CAL"];
/// Function calls alone.
const CALLS: [&str; 1] = ["CAL"];
/// Local timers.
pub(super) const TIMER: [&str; 1] = ["LOC"];

/// Barriers that each processor asks of the others.
const BARRIERS: u64 = 10;

/// The interrupts of these kinds that each processor has had, all together.
#[derive(Debug)]
pub(super) struct Counts(Vec<u64>);

impl Counts {
    pub(super) fn read(kinds: &[&str], count: usize) -> Result<Self, Failure> {
        let table = std::fs::read_to_string("/proc/interrupts")?;
        let mut sums = vec![0; count];
        for kind in kinds {
            let row = row(&table, kind)
                .filter(|row| row.len() == count)
                .ok_or_else(|| {
                    Failure::new(format!(
                        "/proc/interrupts has no row {kind} for {count} processors:\n{table}"
                    ))
                })?;
            for (sum, counted) in sums.iter_mut().zip(row) {
                *sum += counted;
            }
        }
        Ok(Self(sums))
    }

    /// Fails unless every processor had at least `due` of these interrupts since `self`.
    pub(super) fn risen_by(&self, due: u64, kinds: &[&str]) -> Check {
        let now = Self::read(kinds, self.0.len())?;
        for (processor, (before, after)) in self.0.iter().zip(&now.0).enumerate() {
            let risen = after.saturating_sub(*before);
            println!("# {} on processor {processor}: {risen}", kinds.join("+"));
            if risen < due {
                return Err(Failure::new(format!(
                    "processor {processor} had {risen} interrupts of {kinds:?}, due at least {due}"
                )));
            }
        }
        Ok(())
    }
}

/// The counts in the row of this name, a column for each processor.
fn row(table: &str, name: &str) -> Option<Vec<u64>> {
    table.lines().find_map(|line| {
        let (found, rest) = line.split_once(':')?;
        (found.trim() == name).then(|| {
            rest.split_whitespace()
                .map_while(|word| word.parse().ok())
                .collect()
        })
    })
}

/// While threads of this process run on all other processors, a barrier interrupts these.
pub(super) fn membarrier_interrupts(count: usize) -> Check {
    membarrier(MembarrierCommand::RegisterPrivateExpedited)?;
    let before = Counts::read(&CALLS, count)?;
    for caller in 0..count {
        barriers_from(caller, count)?;
    }
    // Where a thread was not running at the moment, its processor was not interrupted.
    let asked = BARRIERS * (count as u64 - 1);
    before.risen_by(asked / 2, &CALLS)
}

fn barriers_from(caller: usize, count: usize) -> Check {
    let running = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    let run = |processor| {
        let pinned = pin(processor);
        running.fetch_add(1, Ordering::SeqCst);
        while pinned.is_ok() && !done.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
        pinned
    };
    let call = || {
        let pinned = pin(caller);
        while running.load(Ordering::SeqCst) < count - 1 {
            thread::yield_now();
        }
        let made = pinned.and_then(|()| {
            for _ in 0..BARRIERS {
                membarrier(MembarrierCommand::PrivateExpedited)?;
            }
            Ok(())
        });
        done.store(true, Ordering::Relaxed);
        made
    };
    let panicked = |_| Err(Failure::new("a thread panicked"));
    thread::scope(|scope| {
        let others: Vec<_> = (0..count)
            .filter(|processor| *processor != caller)
            .map(|processor| scope.spawn(move || run(processor)))
            .collect();
        let called = scope.spawn(call).join().unwrap_or_else(panicked);
        let others = others
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(panicked));
        called.and(others.collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "           CPU0       CPU1
  24:         12          0  IR-IO-APIC   4-edge      ttyS0
 RES:          3         45   Rescheduling interrupts
 CAL:        678          9   Function call interrupts
 ERR:          0
";

    #[test]
    fn the_columns_of_a_row_are_found() {
        assert_eq!(row(TABLE, "RES"), Some(vec![3, 45]));
        assert_eq!(row(TABLE, "CAL"), Some(vec![678, 9]));
        assert_eq!(row(TABLE, "24"), Some(vec![12, 0]));
        assert_eq!(row(TABLE, "ERR"), Some(vec![0]));
        assert_eq!(row(TABLE, "LOC"), None);
    }
}
