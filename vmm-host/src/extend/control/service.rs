// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is done for a request.

use super::metrics;
use super::protocol::{answer_line, Command, Refusal, RequestError};
use super::received;
use crate::extend::{HandlerSource, InstallError, Installer};
use crate::host::HypercallHost;
use crate::table::{Callers, Owner, Registration, TableError};
use hcall_abi::HypercallNumber;
use serde_json::{json, Value};
use std::error::Error;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// How long a handler may hold up a pause. Other clients wait meanwhile.
const PAUSE_LIMIT: Duration = Duration::from_secs(2);

/// What a VM does, as clients are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MachineState {
    /// Its vCPUs run.
    Running,
    /// They do not until it is resumed.
    Paused,
    /// It has ended, or is about to.
    Ended,
}

impl MachineState {
    pub(super) const ALL: [Self; 3] = [Self::Running, Self::Paused, Self::Ended];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Ended => "ended",
        }
    }
}

/// The VM itself, as far as the control socket rules it; the VMM's own is
/// [`vmm::Controller`](crate::vmm::Controller).
pub trait Machine: Send + Sync {
    /// Returns when no vCPU runs guest code.
    ///
    /// # Errors
    ///
    /// If that is not so within `limit`; the VM then goes on.
    fn pause(&self, limit: Duration) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Has the vCPUs run again.
    ///
    /// # Errors
    ///
    /// If there is no VM any more.
    fn resume(&self) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Asks the VM to end.
    fn stop(&self);

    /// What it does.
    fn state(&self) -> MachineState;
}

/// Answers the requests of a VM's control socket.
pub struct ControlService {
    host: Arc<HypercallHost>,
    machine: Box<dyn Machine>,
    installer: Installer,
}

impl ControlService {
    /// For the handlers of `host`, whose VM is `machine`.
    pub fn new(host: Arc<HypercallHost>, machine: impl Machine + 'static) -> Self {
        Self {
            host,
            machine: Box::new(machine),
            installer: Installer::default(),
        }
    }

    /// Has handlers put into the table by `installer`.
    #[must_use]
    pub fn with_installer(self, installer: Installer) -> Self {
        Self { installer, ..self }
    }

    /// The line that answers `line`, with which `descriptors` came.
    pub(super) fn answer(&self, line: &[u8], descriptors: Vec<OwnedFd>) -> String {
        answer_line(self.obey(line, descriptors))
    }

    /// The text for Prometheus.
    pub(super) fn metrics(&self) -> String {
        metrics::text(&self.host, self.machine.state())
    }

    fn obey(&self, line: &[u8], descriptors: Vec<OwnedFd>) -> Result<Value, Refusal> {
        let command = Command::from_line(line).map_err(refuse_request)?;
        tracing::debug!(command = command.name(), "asked over the control socket");
        let mut descriptors = descriptors.into_iter();
        let descriptor = descriptors.next();
        if command.source().is_none() && descriptor.is_some() {
            return Err(received::needless());
        }
        match command {
            Command::List => Ok(self.list()),
            Command::Add { number, source } => self.add(number, &source, descriptor),
            Command::Replace { number, source } => self.replace(number, &source, descriptor),
            Command::Remove { number } => {
                let removed = self.host.hypercalls().remove_from_outside(number);
                removed.map_err(refuse_change)?;
                tracing::info!(%number, "a handler was removed");
                Ok(changed(&[number]))
            }
            Command::Stats => Ok(self.stats()),
            Command::Metrics => Ok(json!({ "text": self.metrics() })),
            Command::Pause => self.machine.pause(PAUSE_LIMIT).map_or_else(
                |error| Err(Refusal::new("not-paused", error)),
                |()| Ok(self.state()),
            ),
            Command::Resume => self.machine.resume().map_or_else(
                |error| Err(Refusal::new("not-resumed", error)),
                |()| Ok(self.state()),
            ),
            Command::Stop => {
                self.machine.stop();
                Ok(self.state())
            }
        }
    }

    fn state(&self) -> Value {
        json!({ "state": self.machine.state().name() })
    }

    fn list(&self) -> Value {
        let registrations = self.host.hypercalls().registrations();
        let handlers: Vec<Value> = registrations.iter().map(describe).collect();
        json!({ "handlers": handlers })
    }

    fn add(
        &self,
        number: Option<HypercallNumber>,
        source: &HandlerSource,
        descriptor: Option<OwnedFd>,
    ) -> Result<Value, Refusal> {
        let opened = received::open(source, descriptor)?;
        let table = self.host.hypercalls();
        let added = self.installer.add(table, number, source, opened);
        let numbers = added.map_err(refuse_install)?;
        tracing::info!(?numbers, %source, "handlers were added");
        Ok(changed(&numbers))
    }

    fn replace(
        &self,
        number: HypercallNumber,
        source: &HandlerSource,
        descriptor: Option<OwnedFd>,
    ) -> Result<Value, Refusal> {
        let opened = received::open(source, descriptor)?;
        let table = self.host.hypercalls();
        let replaced = self.installer.replace(table, number, source, opened);
        replaced.map_err(refuse_install)?;
        tracing::info!(%number, %source, "a handler was replaced");
        Ok(changed(&[number]))
    }

    fn stats(&self) -> Value {
        let counters = self.host.counters();
        let stats = counters.read();
        json!({
            "state": self.machine.state().name(),
            "calls": stats.calls,
            "instruction": stats.instruction,
            "carrier": stats.carrier,
            "port": stats.port,
            "ring": counters.ring_calls(),
            "unknown": stats.unknown,
            "unusable": counters.unusable(),
            "refused": stats.refused,
            "failed": stats.failed,
            "panicked": stats.panicked,
            "numbers": self.numbers(),
        })
    }

    /// What is recorded of each number; null where nothing is.
    #[cfg(feature = "watch")]
    fn numbers(&self) -> Value {
        let Some(watch) = self.host.watch() else {
            return Value::Null;
        };
        let numbers = watch.report().into_iter().map(|stats| {
            let latency = |quantile| stats.latency(quantile).as_nanos() as u64;
            json!({
                "number": stats.number().get(),
                "name": stats.number().name(),
                "calls": stats.calls(),
                "failed": stats.failed(),
                "panicked": stats.panicked(),
                "latency_ns": {
                    "p50": latency(0.5),
                    "p99": latency(0.99),
                    "p999": latency(0.999),
                    "max": stats.longest().as_nanos() as u64,
                    "total": stats.total().as_nanos() as u64,
                },
            })
        });
        numbers.collect()
    }

    #[cfg(not(feature = "watch"))]
    fn numbers(&self) -> Value {
        Value::Null
    }
}

fn describe(registration: &Registration) -> Value {
    let (owner, source) = match &registration.owner {
        Owner::Core => ("core", None),
        Owner::Program => ("program", None),
        Owner::Source(source) => ("source", Some(&**source)),
    };
    let callers = registration.callers.map(|callers| match callers {
        Callers::KernelOnly => "kernel",
        Callers::AnyPrivilegeLevel => "any",
    });
    json!({
        "number": registration.number.get(),
        "name": registration.number.name(),
        "owner": owner,
        "source": source,
        "callers": callers,
    })
}

fn changed(numbers: &[HypercallNumber]) -> Value {
    let numbers: Vec<u32> = numbers.iter().map(|number| number.get()).collect();
    json!({ "numbers": numbers })
}

fn refuse_request(error: RequestError) -> Refusal {
    let code = match error {
        RequestError::Version(_) => "version",
        RequestError::Command(_) => "command",
        RequestError::Number(_) => "number",
        RequestError::Source(_) => "source",
        _ => "request",
    };
    Refusal::new(code, error)
}

fn refuse_change(error: TableError) -> Refusal {
    let code = match error {
        TableError::Duplicate(_) => "duplicate",
        TableError::NotRegistered(_) => "not-registered",
        TableError::CoreCall(_) => "core-call",
    };
    Refusal::new(code, error)
}

fn refuse_install(error: InstallError) -> Refusal {
    match error {
        InstallError::Table(error) => refuse_change(error),
        error => Refusal::new("not-installed", in_full(&error)),
    }
}

/// An error with what it comes from.
fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl fmt::Debug for ControlService {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ControlService")
            .field("host", &self.host)
            .field("installer", &self.installer)
            .finish_non_exhaustive()
    }
}
