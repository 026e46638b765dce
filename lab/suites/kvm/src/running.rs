// SPDX-License-Identifier: MIT OR Apache-2.0
//! One VM of the suite: built, given the test calls, run under a deadline, its console
//! kept.

use crate::handlers::{self, Arguments, Record};
use hcall_abi::layout::Stats;
use hcall_abi::Transport;
use hcall_vmm::sandbox::Sandbox;
use hcall_vmm::vmm::{Console, End, Vm, VmConfig};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What a VM left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) end: End,
    pub(crate) console: String,
    pub(crate) record: Arc<Record>,
    pub(crate) stats: Stats,
    /// Of its calls, those through rings.
    pub(crate) ring_calls: u64,
}

/// Builds and runs the VM, its threads confined as those of `hcall-vmm`, and stops it after
/// `limit`.
pub(crate) fn run(
    mut config: VmConfig,
    arguments: Arguments,
    limit: Duration,
    customise: impl FnOnce(&Vm),
) -> Result<Run, String> {
    config.sandbox = Some(Sandbox::new());
    run_unconfined(config, arguments, limit, customise)
}

/// As [`run`], for handlers that open files.
pub(crate) fn run_unconfined(
    mut config: VmConfig,
    arguments: Arguments,
    limit: Duration,
    customise: impl FnOnce(&Vm),
) -> Result<Run, String> {
    let kept = Arc::new(Mutex::new(Vec::new()));
    config.console = Console::new(Keep(Arc::clone(&kept)));
    let vm = Vm::new(config).map_err(|error| with_causes(&error))?;
    let counters = vm.counters();
    let record = handlers::register(vm.hypercalls(), &counters, arguments)
        .map_err(|error| error.to_string())?;
    customise(&vm);

    let stopper = vm.stopper();
    let ended = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            let start = Instant::now();
            while !ended.load(Ordering::Relaxed) && start.elapsed() < limit {
                thread::sleep(Duration::from_millis(10));
            }
            stopper.stop();
        });
        let outcome = vm.run();
        ended.store(true, Ordering::Relaxed);
        outcome
    });
    let console = String::from_utf8_lossy(&handlers::lock(&kept)).into_owned();
    let end = outcome.map_err(|error| format!("{}\n{console}", with_causes(&error)))?;
    Ok(Run {
        end,
        console,
        record,
        stats: counters.read(),
        ring_calls: counters.ring_calls(),
    })
}

impl Run {
    /// Fails, with the end of the console, unless the VM ended as `expected`.
    pub(crate) fn expect_end(&self, expected: &End) -> Result<(), String> {
        if self.end == *expected {
            return Ok(());
        }
        let lines: Vec<&str> = self.console.lines().collect();
        let last = lines[lines.len().saturating_sub(40)..].join("\n");
        Err(format!(
            "ended with: {}; its console's last lines:\n{last}",
            self.end
        ))
    }
}

/// How many of the calls came over `transport`.
pub(crate) fn calls_over(transport: Transport, stats: &Stats) -> u64 {
    match transport {
        Transport::Instruction => stats.instruction,
        Transport::Carrier => stats.carrier,
        _ => stats.port,
    }
}

/// An error and what caused it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// A sink that keeps what it is given.
struct Keep(Arc<Mutex<Vec<u8>>>);

impl Write for Keep {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        handlers::lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
