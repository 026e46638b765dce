// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall-vmm run`: a VM from start to exit status.

use super::arguments::RunArguments;
use super::{handlers, plugins, STATUS_ABNORMAL};
use crate::confinement::{Confinement, ThreadRole};
use crate::extend::control::{ControlServer, ControlService, ControlSocket};
use crate::extend::Installer;
use crate::host::HypercallHost;
use crate::sandbox::Sandbox;
use crate::table::{HypercallTable, TableError};
use crate::vmm::{CallSpans, End, Stopper, Vm, VmConfig};
use crate::watch::StatsTable;
use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM, SIGTTIN};
use signal_hook::iterator::Signals;
use std::io::{IsTerminal, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tracing_subscriber::filter::LevelFilter;
use vmm_sys_util::signal::block_signal;

/// Shells report a process that signal *n* ended as 128 + *n*.
const STATUS_SIGNAL_BASE: u8 = 128;

pub(super) fn run(
    arguments: RunArguments,
    level: LevelFilter,
    register: impl FnOnce(&HypercallTable) -> Result<(), TableError>,
) -> anyhow::Result<u8> {
    let print_stats = arguments.stats;
    // Before the VM is built: a name in use is said at once.
    let control = arguments.control.as_deref().map(ControlSocket::bind);
    let control = control.transpose()?;
    // A wrong file is said whether or not there is a KVM.
    let plugins = plugins::load(&arguments.plugins)?;
    let (processes, handlers) = handlers::open(&arguments.handlers)?;
    let sandbox = (!arguments.no_sandbox).then(Sandbox::new);
    let confinement = Confinement::from(sandbox.clone());
    let installer = arguments.installer().with_confinement(confinement.clone());
    let vm = Vm::new(VmConfig {
        debug_exit: arguments.debug_exit(),
        watching: arguments.watching(),
        on_panic: arguments.on_panic(),
        call_spans: spans_at(level),
        kvm: arguments.kvm,
        initrd: arguments.initrd,
        command_line: arguments.append,
        memory: arguments.memory,
        vcpus: arguments.vcpus,
        transport: arguments.transport.into(),
        sandbox: sandbox.clone(),
        ..VmConfig::new(arguments.kernel)
    })?;
    register(vm.hypercalls()).context("cannot register a handler")?;
    plugins::register(plugins, vm.hypercalls())?;
    handlers::register(handlers, &installer, vm.hypercalls())?;
    let host = vm.hypercall_host();
    // Everything is open. What is started from here on never sees a path.
    if let Some(sandbox) = &sandbox {
        enclose(sandbox, control.as_ref().map(ControlSocket::directory))?;
    }
    handlers::register(processes, &installer, vm.hypercalls())?;
    let signal = stop_on_signal(vm.stopper(), confinement.clone())?;
    forward_input(vm.stopper(), confinement.clone())?;
    let control = control
        .map(|socket| serve(socket, &vm, installer, confinement.clone()))
        .transpose()?;
    tracing::info!(transports = ?vm.transports(), "the VM starts");

    let running = vm.start()?;
    confinement.enter(ThreadRole::Owner).context(UNCONFINED)?;
    let end = running.wait()?;
    drop(control);
    if print_stats {
        print_counters(&host);
    }
    Ok(status(&end, signal.load(Ordering::Relaxed)))
}

/// A span for each call only where somebody wants to read them.
fn spans_at(level: LevelFilter) -> CallSpans {
    if level >= LevelFilter::TRACE {
        CallSpans::On
    } else {
        CallSpans::Off
    }
}

/// Starts to serve the control socket of `vm`.
fn serve(
    socket: ControlSocket,
    vm: &Vm,
    installer: Installer,
    confinement: Confinement,
) -> anyhow::Result<ControlServer> {
    tracing::info!(path = %socket.path().display(), "the control socket is there");
    let service =
        ControlService::new(vm.hypercall_host(), vm.controller()).with_installer(installer);
    let confine = move || confined(&confinement, ThreadRole::Control);
    ControlServer::start(socket, service, confine).context("cannot serve the control socket")
}

/// What `--stats` prints.
fn print_counters(host: &HypercallHost) {
    eprintln!("{:#?}", host.counters().read());
    if let Some(watch) = host.watch() {
        eprintln!("{}", StatsTable(&watch.report()));
    }
}

/// The process's exit status for a VM that ended so.
fn status(end: &End, signal: u8) -> u8 {
    match end {
        End::Exit(code) => *code,
        End::Reset | End::PowerOff | End::Halted => 0,
        // Nobody signalled: it was asked for over the control socket.
        End::Stopped if signal == 0 => 0,
        End::Stopped => STATUS_SIGNAL_BASE.saturating_add(signal),
        abnormal => {
            eprintln!("error: {abnormal}");
            STATUS_ABNORMAL
        }
    }
}

const UNCONFINED: &str = "cannot confine a thread; --no-sandbox runs without";

/// Gives up what the running VM does not need, and says what this kernel has for it.
fn enclose(sandbox: &Sandbox, removable: Option<&Path>) -> anyhow::Result<()> {
    let enclosure = match removable {
        None => sandbox.enclose(),
        Some(directory) => sandbox.enclose_but_removal(directory),
    };
    let enclosure = enclosure.context("cannot confine the VM; --no-sandbox runs without")?;
    if enclosure.lacks_a_layer() {
        tracing::warn!("the sandbox is incomplete: {enclosure}");
    } else {
        tracing::info!("the sandbox leaves the VM {enclosure}");
    }
    Ok(())
}

/// How long the VM may take to end after a signal. A handler that hangs, or a console that
/// nobody reads, would hold it up for ever.
const END_LIMIT: Duration = Duration::from_secs(2);

/// Ends the VM on Ctrl-C and SIGTERM; the returned number is the signal's. If the VM does not
/// end, the process does.
fn stop_on_signal(stopper: Stopper, confinement: Confinement) -> anyhow::Result<Arc<AtomicU8>> {
    let received = Arc::new(AtomicU8::new(0));
    let seen = Arc::clone(&received);
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot handle signals")?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            if !confined(&confinement, ThreadRole::Signals) {
                return;
            }
            if let Some(signal) = signals.forever().next() {
                let signal = signal as u8;
                seen.store(signal, Ordering::Relaxed);
                stopper.stop();
                thread::sleep(END_LIMIT);
                // The process is there still, and so the VM has not ended.
                std::process::exit(STATUS_SIGNAL_BASE.saturating_add(signal).into());
            }
        })
        .context("cannot start the signal thread")?;
    Ok(received)
}

/// Confines the calling thread; it does nothing if that fails.
fn confined(confinement: &Confinement, role: ThreadRole) -> bool {
    let confined = confinement.enter(role);
    if let Err(error) = &confined {
        tracing::error!(?role, %error, "{UNCONFINED}");
    }
    confined.is_ok()
}

/// How long to wait for room in the guest's UART.
const FULL_INTERVAL: Duration = Duration::from_millis(10);

/// How long to wait for a terminal that somebody else is typing at.
const BACKGROUND_INTERVAL: Duration = Duration::from_millis(200);

/// Types standard input into the guest's console until it ends.
fn forward_input(stopper: Stopper, confinement: Confinement) -> anyhow::Result<()> {
    // Asked while the thread still may.
    let is_terminal = std::io::stdin().is_terminal();
    thread::Builder::new()
        .name("console-input".into())
        .spawn(move || {
            // Whoever reads its terminal in the background is stopped with all its threads;
            // who blocks this signal is told EIO, and can wait.
            if is_terminal && block_signal(SIGTTIN).is_err() {
                return;
            }
            if !confined(&confinement, ThreadRole::ConsoleInput) {
                return;
            }
            let mut buffer = [0; 64];
            loop {
                match std::io::stdin().read(&mut buffer) {
                    Ok(length @ 1..) => type_all(&stopper, &buffer[..length]),
                    Err(error) if is_terminal && error.raw_os_error() == Some(libc::EIO) => {
                        thread::sleep(BACKGROUND_INTERVAL);
                    }
                    Ok(0) | Err(_) => break,
                }
            }
        })
        .context("cannot start the console's input thread")?;
    Ok(())
}

/// Types `input` into the guest's console, as it takes it.
fn type_all(stopper: &Stopper, mut input: &[u8]) {
    while !input.is_empty() {
        let taken = stopper.type_into_console(input);
        input = &input[taken..];
        if taken == 0 {
            thread::sleep(FULL_INTERVAL);
        }
    }
}
