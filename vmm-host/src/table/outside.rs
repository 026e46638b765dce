// SPDX-License-Identifier: MIT OR Apache-2.0
//! Changes of the table by somebody outside of the program: he says where a handler comes
//! from, and core calls are not his to change.

use super::{answerer, Callers, Entry, Handler, HypercallTable, Owner, TableError};
use hcall_abi::number::{CORE_FIRST, CORE_LAST};
use hcall_abi::HypercallNumber;
use std::sync::Arc;

impl HypercallTable {
    /// Registers a handler that comes from `source`.
    ///
    /// # Errors
    ///
    /// [`TableError::Duplicate`] if the number has a handler, [`TableError::CoreCall`] if it is
    /// in the core range.
    pub fn register_from(
        &self,
        source: &str,
        number: HypercallNumber,
        handler: impl Handler,
    ) -> Result<(), TableError> {
        self.register_all_from(source, [(number, None, handler)])
    }

    /// Registers several handlers that come from one `source`, each with who may call it: all,
    /// or none.
    ///
    /// # Errors
    ///
    /// [`TableError::Duplicate`] if one of the numbers has a handler, or is there twice,
    /// [`TableError::CoreCall`] if it is in the core range.
    pub fn register_all_from<H: Handler>(
        &self,
        source: &str,
        handlers: impl IntoIterator<Item = (HypercallNumber, Option<Callers>, H)>,
    ) -> Result<(), TableError> {
        let source: Arc<str> = source.into();
        let entries: Vec<Entry> = handlers
            .into_iter()
            .map(|(number, callers, handler)| self.entry_from(&source, number, callers, handler))
            .collect();
        entries.iter().try_for_each(|entry| admit(entry.number))?;
        self.change(|snapshot| {
            entries
                .into_iter()
                .try_for_each(|entry| snapshot.add(entry))
        })
    }

    /// Puts a handler that comes from `source` in the place of the one that `number` has, so
    /// that no call in between finds none.
    ///
    /// # Errors
    ///
    /// [`TableError::NotRegistered`] if it has none, [`TableError::CoreCall`] if it is in
    /// the core range.
    pub fn replace_from(
        &self,
        source: &str,
        number: HypercallNumber,
        handler: impl Handler,
    ) -> Result<(), TableError> {
        admit(number)?;
        let entry = self.entry_from(&source.into(), number, None, handler);
        self.change(|snapshot| snapshot.exchange(entry))
    }

    /// Removes the handler of `number`, unless it is in the core range; a call that has begun is
    /// still answered by it.
    ///
    /// # Errors
    ///
    /// [`TableError::NotRegistered`] if it has none, [`TableError::CoreCall`] if it is in
    /// the core range.
    pub fn remove_from_outside(&self, number: HypercallNumber) -> Result<(), TableError> {
        admit(number)?;
        self.change(|snapshot| snapshot.take(number))
    }

    fn entry_from(
        &self,
        source: &Arc<str>,
        number: HypercallNumber,
        callers: Option<Callers>,
        handler: impl Handler,
    ) -> Entry {
        let owner = Owner::Source(Arc::clone(source));
        self.entry(number, callers, owner, answerer(handler))
    }
}

/// Whoever is outside changes no number of the core range, taken or not: guests rely on what
/// it means.
fn admit(number: HypercallNumber) -> Result<(), TableError> {
    if (CORE_FIRST..=CORE_LAST).contains(&number.get()) {
        return Err(TableError::CoreCall(number));
    }
    Ok(())
}
