// SPDX-License-Identifier: MIT OR Apache-2.0
//! From an opened source into the table.

use super::external::{ExternalError, ExternalHandler, TIME_LIMIT};
use super::plugin::{Plugin, PluginError};
use super::source::{HandlerSource, OpenedSource};
use crate::hypercall::{Hypercall, HypercallResult};
use crate::table::{Callers, Handler, HypercallTable, TableError};
use hcall_abi::HypercallNumber;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Why a source gave no handler. The table is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// See [`TableError`].
    #[error(transparent)]
    Table(#[from] TableError),
    /// See [`ExternalError`].
    #[error(transparent)]
    External(#[from] ExternalError),
    /// See [`PluginError`].
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The plugin has handlers, and none for this number.
    #[error("the plugin has no handler for hypercall {0}")]
    NotInPlugin(HypercallNumber),
    /// Only a plugin says itself for which numbers it has handlers.
    #[error("say for which number '{0}' is to be the handler: NUMBER={0}")]
    NoNumber(HandlerSource),
}

/// A handler of whatever kind.
type AnyHandler = Box<dyn Fn(&mut Hypercall<'_>) -> HypercallResult + Send + Sync>;

/// Puts handlers from outside into a table.
///
/// # Examples
///
/// ```
/// use hcall_vmm::extend::{HandlerSource, Installer};
/// use hcall_vmm::{HypercallNumber, HypercallTable};
///
/// const ANSWER: HypercallNumber = HypercallNumber::user(7);
/// let table = HypercallTable::new();
/// let source: HandlerSource = "value:42".parse()?;
/// Installer::default().add(&table, Some(ANSWER), &source, source.open()?)?;
/// assert!(table.contains(ANSWER));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Installer {
    time_limit: Duration,
}

impl Default for Installer {
    fn default() -> Self {
        Self {
            time_limit: TIME_LIMIT,
        }
    }
}

impl Installer {
    /// The same with another limit on the time that a handler's process has for each call, and
    /// for its greeting.
    #[must_use]
    pub fn with_time_limit(self, time_limit: Duration) -> Self {
        Self { time_limit }
    }

    /// Adds the handler for `number` that is in `opened`, which `source` names; without a number
    /// all that a plugin has. Returns the numbers that have a handler now.
    ///
    /// # Errors
    ///
    /// [`InstallError`]
    pub fn add(
        &self,
        table: &HypercallTable,
        number: Option<HypercallNumber>,
        source: &HandlerSource,
        opened: OpenedSource,
    ) -> Result<Vec<HypercallNumber>, InstallError> {
        let handlers = match (opened, number) {
            (OpenedSource::Plugin { file, name }, None) => {
                let plugin = Plugin::load(file, &name)?;
                let handlers = plugin.numbers().filter_map(|number| {
                    let handler = any(plugin.handler(number)?);
                    Some((number, plugin.callers(number), handler))
                });
                handlers.collect()
            }
            (opened, Some(number)) => {
                // Said before a process is greeted or a plugin's code runs.
                if table.contains(number) {
                    return Err(TableError::Duplicate(number).into());
                }
                let (callers, handler) = self.handler(number, opened)?;
                vec![(number, callers, handler)]
            }
            (_, None) => return Err(InstallError::NoNumber(source.clone())),
        };
        let numbers = handlers.iter().map(|(number, ..)| *number).collect();
        table.register_all_from(&source.to_string(), handlers)?;
        Ok(numbers)
    }

    /// Puts the handler for `number` that is in `opened`, which `source` names, in the place
    /// of the one that it has, for the same callers.
    ///
    /// # Errors
    ///
    /// [`InstallError`]
    pub fn replace(
        &self,
        table: &HypercallTable,
        number: HypercallNumber,
        source: &HandlerSource,
        opened: OpenedSource,
    ) -> Result<(), InstallError> {
        if !table.contains(number) {
            return Err(TableError::NotRegistered(number).into());
        }
        let (_, handler) = self.handler(number, opened)?;
        Ok(table.replace_from(&source.to_string(), number, handler)?)
    }

    /// The handler for `number`, and who may call it if that is the handler's to say.
    fn handler(
        &self,
        number: HypercallNumber,
        opened: OpenedSource,
    ) -> Result<(Option<Callers>, AnyHandler), InstallError> {
        Ok(match opened {
            OpenedSource::Socket(stream) => (None, self.process(number, stream)?),
            OpenedSource::Plugin { file, name } => {
                let plugin = Plugin::load(file, &name)?;
                let handler = plugin
                    .handler(number)
                    .ok_or(InstallError::NotInPlugin(number))?;
                (plugin.callers(number), any(handler))
            }
            OpenedSource::Value(value) => (None, Box::new(move |_| Ok(value))),
            OpenedSource::Error(errno) => (None, Box::new(move |_| Err(errno))),
        })
    }

    fn process(
        &self,
        number: HypercallNumber,
        stream: UnixStream,
    ) -> Result<AnyHandler, InstallError> {
        let handler = ExternalHandler::new(stream, number, self.time_limit)?;
        Ok(any(handler.into_handler()))
    }
}

fn any(handler: impl Handler) -> AnyHandler {
    Box::new(handler)
}
