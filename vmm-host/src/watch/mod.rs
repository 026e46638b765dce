// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts, failures and latencies of each number.
//!
//! [`HypercallHost::with_watching`](crate::HypercallHost::with_watching) turns it on, before
//! anything is registered; a host that does not watch pays nothing. One that does pays two
//! readings of the clock and an uncontended lock for each call: every vCPU and every ring
//! records apart from the others, and a reader takes one of them at a time.
//!
//! What is measured is the time in the handler, or until the answer of one that
//! [defers](crate::Hypercall::defer) it: such a call is counted, and its failure, when the answer
//! is put in place, and not at all if the VM ends before. An entry of a batch, and a call through
//! a ring, is counted under its own number; `BATCH` is counted too, with the whole of its time.
//!
//! | module | is for |
//! |---|---|
//! | `record` | where the calls of one number are recorded |
//! | `report` | what they were, as people and programs read it |

mod record;
mod report;

pub(crate) use record::Record;
pub use report::{NumberStats, StatsTable};

use hcall_abi::HypercallNumber;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The records of a host. A number's goes on when its handler is replaced, or removed and
/// registered again.
#[derive(Default)]
pub struct Watch {
    records: Mutex<BTreeMap<HypercallNumber, Arc<Record>>>,
}

impl Watch {
    /// What has been recorded of each number that was ever called, by number.
    pub fn report(&self) -> Vec<NumberStats> {
        // Not read under the lock, for which a registration would wait.
        let records: Vec<(HypercallNumber, Arc<Record>)> = self
            .records()
            .iter()
            .map(|(number, record)| (*number, Arc::clone(record)))
            .collect();
        records
            .iter()
            .map(|(number, record)| record.read(*number))
            .filter(|stats| stats.calls() > 0)
            .collect()
    }

    /// Where the calls of `number` are recorded.
    pub(crate) fn record(&self, number: HypercallNumber) -> Arc<Record> {
        Arc::clone(self.records().entry(number).or_default())
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<HypercallNumber, Arc<Record>>> {
        // Every change is one insertion.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Watch")
            .field("numbers", &self.records().len())
            .finish_non_exhaustive()
    }
}
