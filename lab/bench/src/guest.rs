// SPDX-License-Identifier: MIT OR Apache-2.0
//! A VM, run to its end, and how long it called.

use hcall_abi::number::ECHO;
use hcall_vmm::vmm::{Console, End, Vm, VmConfig};
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What a VM left behind.
pub(crate) struct Ran {
    pub(crate) end: End,
    pub(crate) console: String,
    /// From its first ECHO to its end.
    pub(crate) calling: Duration,
}

/// Builds and runs the VM, and stops it after `limit`.
pub(crate) fn run(mut config: VmConfig, limit: Duration) -> Result<Ran, String> {
    let kept = Arc::new(Mutex::new(Vec::new()));
    config.console = Console::new(Keep(Arc::clone(&kept)));
    let vm = Vm::new(config).map_err(|error| with_causes(&error))?;
    let first = Arc::new(OnceLock::new());
    let seen = Arc::clone(&first);
    vm.hypercalls()
        .replace(ECHO, move |call| {
            seen.get_or_init(Instant::now);
            Ok(call.arg::<0>())
        })
        .map_err(|error| error.to_string())?;
    let stopper = vm.stopper();
    let (ended, end_seen) = std::sync::mpsc::channel::<()>();
    let outcome = thread::scope(|scope| {
        scope.spawn(move || {
            // Disconnected when the VM has ended.
            if end_seen.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                stopper.stop();
            }
        });
        let outcome = vm.run();
        drop(ended);
        outcome
    });
    let calling = first.get().map_or(Duration::ZERO, Instant::elapsed);
    let console = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let console = String::from_utf8_lossy(&console).into_owned();
    let end = outcome.map_err(|error| format!("{}\n{console}", with_causes(&error)))?;
    Ok(Ran {
        end,
        console,
        calling,
    })
}

impl Ran {
    /// Fails, with the end of the console, unless the VM ended as `expected`.
    pub(crate) fn expect_end(&self, expected: &End) -> Result<(), String> {
        if self.end == *expected {
            return Ok(());
        }
        let lines: Vec<&str> = self.console.lines().collect();
        let last = lines[lines.len().saturating_sub(40)..].join("\n");
        Err(format!("ended with: {}; its console:\n{last}", self.end))
    }

    /// The numbers in the console's line that begins with `name`.
    pub(crate) fn figures<const COUNT: usize>(&self, name: &str) -> Result<[f64; COUNT], String> {
        let numbers_of = |line: &str| -> Option<[f64; COUNT]> {
            let mut words = line.split_whitespace();
            let numbers = words.next().filter(|word| *word == name).map(|_| words)?;
            let numbers: Vec<f64> = numbers.map_while(|word| word.parse().ok()).collect();
            numbers.try_into().ok()
        };
        let found = self.console.lines().find_map(numbers_of);
        found.ok_or_else(|| {
            format!(
                "no line '{name}' with {COUNT} numbers; the console:\n{}",
                self.console
            )
        })
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
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
