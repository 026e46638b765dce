// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall-vmm run`: a VM from start to exit status.

use super::arguments::RunArguments;
use super::{handlers, plugins, STATUS_ABNORMAL};
use crate::table::{HypercallTable, TableError};
use crate::vmm::{End, Stopper, Vm, VmConfig};
use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::Read;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Shells report a process that signal *n* ended as 128 + *n*.
const STATUS_SIGNAL_BASE: u8 = 128;

pub(super) fn run(
    arguments: RunArguments,
    register: impl FnOnce(&HypercallTable) -> Result<(), TableError>,
) -> anyhow::Result<u8> {
    let print_stats = arguments.stats;
    let installer = arguments.installer();
    // A wrong file is said whether or not there is a KVM.
    let plugins = plugins::load(&arguments.plugins)?;
    let handlers = handlers::open(&arguments.handlers)?;
    let vm = Vm::new(VmConfig {
        debug_exit: arguments.debug_exit(),
        kvm: arguments.kvm,
        initrd: arguments.initrd,
        command_line: arguments.append,
        memory: arguments.memory,
        vcpus: arguments.vcpus,
        transport: arguments.transport.into(),
        ..VmConfig::new(arguments.kernel)
    })?;
    register(vm.hypercalls()).context("cannot register a handler")?;
    plugins::register(plugins, vm.hypercalls())?;
    handlers::register(handlers, &installer, vm.hypercalls())?;
    let counters = vm.counters();
    let signal = stop_on_signal(vm.stopper())?;
    forward_input(vm.stopper())?;
    tracing::info!(transports = ?vm.transports(), "the VM starts");

    let end = vm.run()?;
    if print_stats {
        eprintln!("{:#?}", counters.read());
    }
    Ok(status(&end, signal.load(Ordering::Relaxed)))
}

/// The process's exit status for a VM that ended so.
fn status(end: &End, signal: u8) -> u8 {
    match end {
        End::Exit(code) => *code,
        End::Reset | End::PowerOff | End::Halted => 0,
        End::Stopped => STATUS_SIGNAL_BASE.saturating_add(signal),
        abnormal => {
            eprintln!("error: {abnormal}");
            STATUS_ABNORMAL
        }
    }
}

/// Ends the VM on Ctrl-C and SIGTERM; the returned number is the signal's.
fn stop_on_signal(stopper: Stopper) -> anyhow::Result<Arc<AtomicU8>> {
    let received = Arc::new(AtomicU8::new(0));
    let seen = Arc::clone(&received);
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot handle signals")?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                seen.store(signal as u8, Ordering::Relaxed);
                stopper.stop();
            }
        })
        .context("cannot start the signal thread")?;
    Ok(received)
}

/// How long to wait for room in the guest's UART.
const FULL_INTERVAL: Duration = Duration::from_millis(10);

/// Types standard input into the guest's console until it ends.
fn forward_input(stopper: Stopper) -> anyhow::Result<()> {
    thread::Builder::new()
        .name("console-input".into())
        .spawn(move || {
            let mut buffer = [0; 64];
            while let Ok(length @ 1..) = std::io::stdin().read(&mut buffer) {
                let mut rest = &buffer[..length];
                while !rest.is_empty() {
                    let taken = stopper.type_into_console(rest);
                    rest = &rest[taken..];
                    if taken == 0 {
                        thread::sleep(FULL_INTERVAL);
                    }
                }
            }
        })
        .context("cannot start the console's input thread")?;
    Ok(())
}
