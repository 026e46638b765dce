// SPDX-License-Identifier: MIT OR Apache-2.0
//! The counters as Prometheus reads them: text, version 0.0.4.

use super::service::MachineState;
use crate::host::HypercallHost;
use hcall_abi::Transport;
use std::fmt::{self, Write};

#[cfg(feature = "watch")]
use crate::watch::NumberStats;
#[cfg(feature = "watch")]
use std::time::Duration;

/// Upper bounds of the buckets of a latency, in nanoseconds.
#[cfg(feature = "watch")]
const BUCKETS: [u64; 18] = [
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    100_000_000,
    1_000_000_000,
];

/// The whole text.
pub(super) fn text(host: &HypercallHost, state: MachineState) -> String {
    let mut text = String::new();
    write(&mut text, host, state).expect("a string takes everything");
    text
}

fn write(text: &mut String, host: &HypercallHost, state: MachineState) -> fmt::Result {
    family(text, "hcall_vm_state", "gauge", "What the VM does.")?;
    for known in MachineState::ALL {
        let value = u8::from(known == state);
        writeln!(text, "hcall_vm_state{{state=\"{}\"}} {value}", known.name())?;
    }
    let handlers = host.hypercalls().registrations().len();
    family(
        text,
        "hcall_handlers",
        "gauge",
        "Numbers that have a handler.",
    )?;
    writeln!(text, "hcall_handlers {handlers}")?;
    write_totals(text, host)?;
    write_numbers(text, host)
}

fn write_totals(text: &mut String, host: &HypercallHost) -> fmt::Result {
    let counters = host.counters();
    let stats = counters.read();
    family(
        text,
        "hcall_calls_total",
        "counter",
        "Calls, by the way they came.",
    )?;
    for transport in Transport::ALL {
        let (name, calls) = (transport.name(), counters.calls(transport));
        writeln!(text, "hcall_calls_total{{transport=\"{name}\"}} {calls}")?;
    }
    let calls = counters.ring_calls();
    writeln!(text, "hcall_calls_total{{transport=\"ring\"}} {calls}")?;
    family(
        text,
        "hcall_errors_total",
        "counter",
        "Calls that did not succeed, by why.",
    )?;
    for (outcome, count) in [
        ("unknown", stats.unknown),
        ("refused", stats.refused),
        ("failed", stats.failed),
        ("panicked", stats.panicked),
    ] {
        writeln!(text, "hcall_errors_total{{outcome=\"{outcome}\"}} {count}")?;
    }
    let help = "Calls whose number belongs to KVM, Xen or Hyper-V.";
    family(text, "hcall_unusable_calls_total", "counter", help)?;
    writeln!(text, "hcall_unusable_calls_total {}", counters.unusable())
}

#[cfg(not(feature = "watch"))]
fn write_numbers(_: &mut String, _: &HypercallHost) -> fmt::Result {
    Ok(())
}

#[cfg(feature = "watch")]
fn write_numbers(text: &mut String, host: &HypercallHost) -> fmt::Result {
    let Some(watch) = host.watch() else {
        return Ok(());
    };
    let report = watch.report();
    let help = "Calls that a number's handlers answered with an error, by why.";
    family(text, "hcall_number_errors_total", "counter", help)?;
    for stats in &report {
        let labels = labels(stats);
        for (outcome, count) in [("failed", stats.failed()), ("panicked", stats.panicked())] {
            writeln!(
                text,
                "hcall_number_errors_total{{{labels},outcome=\"{outcome}\"}} {count}"
            )?;
        }
    }
    let help = "Time in a number's handlers; its count is that of their calls.";
    family(text, "hcall_number_latency_seconds", "histogram", help)?;
    report
        .iter()
        .try_for_each(|stats| write_latency(text, stats))
}

#[cfg(feature = "watch")]
fn write_latency(text: &mut String, stats: &NumberStats) -> fmt::Result {
    let labels = labels(stats);
    let name = "hcall_number_latency_seconds";
    for bound in BUCKETS {
        let bound = Duration::from_nanos(bound);
        let (within, bound) = (stats.calls_within(bound), bound.as_secs_f64());
        writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {within}")?;
    }
    let calls = stats.calls();
    writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {calls}")?;
    let total = stats.total().as_secs_f64();
    writeln!(text, "{name}_sum{{{labels}}} {total}")?;
    writeln!(text, "{name}_count{{{labels}}} {calls}")
}

/// By which a number is told from others; the name is empty where it has none.
#[cfg(feature = "watch")]
fn labels(stats: &NumberStats) -> String {
    let number = stats.number();
    format!(
        "number=\"{number}\",name=\"{}\"",
        number.name().unwrap_or("")
    )
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}")
}
