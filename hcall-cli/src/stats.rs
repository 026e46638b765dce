// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall stats`: what the host and the module have counted.

use crate::answer::Answer;
use crate::failure::Failure;
use crate::statistics::{Change, Statistics};
use clap::ValueEnum;
use hcall_guest::abi::layout;
use hcall_guest::device::{Device, DeviceError};
use serde_json::{json, Value};

/// What of it.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum What {
    /// What the host answers to STATS
    Host,
    /// What the module has counted, if it was told to
    Guest,
    /// Have the module count
    Enable,
    /// Have the module count no more
    Disable,
    /// Have the module forget what it has counted
    Reset,
}

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Stats {
    host: Option<layout::Stats>,
    guest: Option<Statistics>,
}

/// Shows or changes what `what` names; without it, shows everything.
pub(crate) fn run(
    what: Option<What>,
    open: impl FnOnce() -> Result<Device, DeviceError>,
) -> Result<Answer, Failure> {
    let change = match what {
        None | Some(What::Host | What::Guest) => {
            return Ok(Answer::Stats(Stats {
                host: match what {
                    Some(What::Guest) => None,
                    _ => Some(open()?.stats()?),
                },
                guest: match what {
                    Some(What::Host) => None,
                    _ => Some(Statistics::read()?),
                },
            }));
        }
        Some(What::Enable) => Change::Enable,
        Some(What::Disable) => Change::Disable,
        Some(What::Reset) => Change::Reset,
    };
    change.make()?;
    Ok(Answer::Changed)
}

impl Stats {
    /// Lines for people.
    pub(crate) fn text(&self) -> String {
        let host = self.host.as_ref().map(host_text);
        let guest = self.guest.as_ref().map(Statistics::text);
        [host, guest].into_iter().flatten().collect()
    }

    /// One object for programs.
    pub(crate) fn json(&self) -> Value {
        let mut json = json!({"ok": true});
        if let Some(host) = &self.host {
            json["host"] = counters(host).into_iter().map(owned).collect();
        }
        if let Some(guest) = &self.guest {
            json["guest"] = guest.json();
        }
        json
    }
}

fn owned((name, count): (&str, u64)) -> (String, u64) {
    (name.to_owned(), count)
}

fn host_text(stats: &layout::Stats) -> String {
    let lines = counters(stats).map(|(name, count)| format!("  {name:<13}{count}\n"));
    format!(
        "host: calls of this VM since it started\n{}",
        lines.concat()
    )
}

fn counters(stats: &layout::Stats) -> [(&'static str, u64); 8] {
    [
        ("calls", stats.calls),
        ("instruction", stats.instruction),
        ("carrier", stats.carrier),
        ("port", stats.port),
        ("unknown", stats.unknown),
        ("refused", stats.refused),
        ("failed", stats.failed),
        ("panicked", stats.panicked),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_counters_are_named() {
        let stats = Stats {
            host: Some(layout::Stats {
                calls: 12,
                port: 11,
                ..layout::Stats::default()
            }),
            guest: None,
        };
        let text = stats.text();
        assert!(text.contains("\n  calls        12\n"), "{text}");
        assert_eq!(stats.json()["host"]["port"], 11);
        assert_eq!(stats.json().get("guest"), None);
    }
}
