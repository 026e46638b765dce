// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unikernels over one transport.

use crate::handlers::Arguments;
use crate::running::{calls_over, run, Run};
use hcall_abi::Transport;
use hcall_ktap::{CaseResult, Suite, Verdict};
use hcall_lab_contract::{ARITY_CALLS, MIX, UNREGISTERED};
use hcall_vmm::vmm::{End, TransportChoice, Vm, VmConfig};
use hcall_vmm::PanicPolicy;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What any of these guests may take, on the slowest of machines.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// How often `registers` sweeps each arity.
const SWEEPS: u64 = 50;

pub(crate) type Case = fn(&Setting) -> CaseResult;

/// A transport on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    guests: PathBuf,
    pub(crate) transport: Transport,
}

pub(crate) fn add_cases<'a>(
    suite: Suite<'a>,
    guests: &Path,
    transport: Transport,
    wanted: bool,
) -> Suite<'a> {
    let cases: [(&str, Case); 13] = [
        ("hello", hello),
        (
            "2,000 calls of each arity, every argument and result checked",
            arity,
        ),
        ("no register but rax and no flag changes", registers),
        ("core calls", core_calls),
        ("hostile calls are answered with errnos", hostile),
        ("exit status", exit_status),
        ("returning from main", returning),
        (
            "panic reaches the host with message and place",
            panic_message,
        ),
        ("exceptions reach the host", exceptions),
        ("a triple fault ends the VM", triple_fault),
        ("a guest that spins is stopped", spinning),
        (
            "a handler that panics costs the guest one call",
            panicking_handler,
        ),
        (
            "a handler that panics ends the VM where that is wanted",
            panic_that_ends,
        ),
    ];
    add_each(suite, guests, transport, wanted, cases)
}

/// Adds cases of one transport, under its name.
pub(crate) fn add_each<'a, const COUNT: usize>(
    mut suite: Suite<'a>,
    guests: &Path,
    transport: Transport,
    wanted: bool,
    cases: [(&str, Case); COUNT],
) -> Suite<'a> {
    for (name, case) in cases {
        let setting = Setting::new(guests, transport);
        suite = suite.case(format!("{transport}: {name}"), move || {
            setting.if_wanted(wanted, case)
        });
    }
    suite
}

impl Setting {
    pub(crate) fn new(guests: &Path, transport: Transport) -> Self {
        Self {
            guests: guests.into(),
            transport,
        }
    }

    /// Runs the case, or skips it where the transport is not there.
    pub(crate) fn if_wanted(&self, wanted: bool, case: Case) -> CaseResult {
        if wanted {
            return case(self);
        }
        let transport = self.transport;
        Ok(Verdict::Skip(format!(
            "transport '{transport}' does not work on this machine's KVM"
        )))
    }

    pub(crate) fn config(&self, guest: &str, command_line: &str) -> VmConfig {
        let mut config = VmConfig::new(self.guests.join(guest));
        config.command_line = command_line.into();
        config.transport = TransportChoice::Only(self.transport);
        config
    }

    pub(crate) fn run(
        &self,
        guest: &str,
        command_line: &str,
        limit: Duration,
    ) -> Result<Run, String> {
        let config = self.config(guest, command_line);
        run(config, Arguments::InSequence, limit, |_| {})
    }

    /// Runs a guest that exits with status 0 when all its own checks hold.
    pub(crate) fn run_well(&self, guest: &str, command_line: &str) -> Result<Run, String> {
        let run = self.run(guest, command_line, LIMIT)?;
        run.expect_end(&End::Exit(0))?;
        run.record.check_arguments()?;
        self.check_transport(&run)?;
        Ok(run)
    }

    /// Every call came over this transport and no other.
    fn check_transport(&self, run: &Run) -> Result<(), String> {
        let over = calls_over(self.transport, &run.stats);
        equal("calls over other transports", run.stats.calls - over, 0)
    }
}

pub(crate) fn equal<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: T,
    expected: T,
) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: expected {expected:?}, found {found:?}"))
    }
}

fn hello(setting: &Setting) -> CaseResult {
    let run = setting.run_well("hello", "")?;
    equal("console", run.console.as_str(), "hello from a unikernel\n")?;
    equal("calls: CONSOLE_WRITE and EXIT", run.stats.calls, 2)?;
    Ok(Verdict::Pass)
}

fn arity(setting: &Setting) -> CaseResult {
    let run = setting.run_well("arity", "")?;
    for (arity, count) in run.record.mixed.iter().enumerate() {
        let count = count.load(Ordering::Relaxed);
        equal(
            &format!("calls of arity {arity} that arrived"),
            count,
            ARITY_CALLS,
        )?;
    }
    let all = ARITY_CALLS * MIX.len() as u64;
    equal("calls in all: the MIXes and EXIT", run.stats.calls, all + 1)?;
    Ok(Verdict::Pass)
}

fn registers(setting: &Setting) -> CaseResult {
    let run = setting.run_well("registers", &SWEEPS.to_string())?;
    for (arity, count) in run.record.mixed.iter().enumerate() {
        let count = count.load(Ordering::Relaxed);
        equal(&format!("sweeps of arity {arity}"), count, SWEEPS)?;
    }
    Ok(Verdict::Pass)
}

fn core_calls(setting: &Setting) -> CaseResult {
    let run = setting.run_well("core-calls", "")?;
    let numbers: Vec<String> = (0..200).map(|round| format!("{round:04} ")).collect();
    let expected = format!("one line\n{}\n", numbers.concat());
    equal("console", run.console, expected)?;
    Ok(Verdict::Pass)
}

fn hostile(setting: &Setting) -> CaseResult {
    let run = setting.run_well("hostile", "")?;
    equal("console", run.console.as_str(), "the host lives\n")?;
    Ok(Verdict::Pass)
}

fn exit_status(setting: &Setting) -> CaseResult {
    setting
        .run("ends", "exit", LIMIT)?
        .expect_end(&End::Exit(42))?;
    Ok(Verdict::Pass)
}

fn returning(setting: &Setting) -> CaseResult {
    setting
        .run("ends", "return", LIMIT)?
        .expect_end(&End::Exit(0))?;
    Ok(Verdict::Pass)
}

/// Fails unless the guest ended by a panic whose message holds each of `parts`.
fn expect_panic(setting: &Setting, command_line: &str, parts: &[&str]) -> Result<(), String> {
    let run = setting.run("ends", command_line, LIMIT)?;
    match &run.end {
        End::Panic(message) if parts.iter().all(|part| message.contains(part)) => Ok(()),
        other => Err(format!(
            "ended with {other:?}, expected a panic with {parts:?}"
        )),
    }
}

fn panic_message(setting: &Setting) -> CaseResult {
    expect_panic(
        setting,
        "panic",
        &["this guest panics on purpose", "ends.rs"],
    )?;
    Ok(Verdict::Pass)
}

fn exceptions(setting: &Setting) -> CaseResult {
    expect_panic(setting, "invalid-opcode", &["#UD", "vector 6"])?;
    expect_panic(
        setting,
        "page-fault",
        &["#PF", "vector 14", "cr2 0x10000000000"],
    )?;
    Ok(Verdict::Pass)
}

/// It is told where: at the instruction whose exception could not be delivered. On processors
/// with SVM, KVM has reset the vCPU by then, and that is told.
fn triple_fault(setting: &Setting) -> CaseResult {
    let processors = fs::read_to_string("/proc/cpuinfo").map_err(|error| error.to_string())?;
    let due = match processors.split_whitespace().any(|word| word == "svm") {
        true => "KVM has reset",
        false => "where stands 0f 0b",
    };
    match setting.run("ends", "triple-fault", LIMIT)?.end {
        End::TripleFault(words) if words.contains(due) => Ok(Verdict::Pass),
        other => Err(format!("ended with: {other}")),
    }
}

fn spinning(setting: &Setting) -> CaseResult {
    let start = Instant::now();
    let limit = Duration::from_secs(1);
    setting
        .run("ends", "spin", limit)?
        .expect_end(&End::Stopped)?;
    let took = start.elapsed();
    // The stop itself: the rest is the limit, the build and the probe of the VM.
    if took > limit + Duration::from_secs(2) {
        return Err(format!("stopping took {took:?}"));
    }
    Ok(Verdict::Pass)
}

/// Registers a handler that panics, for a number that the unikernel `core-calls` calls.
fn provoke(vm: &Vm) {
    vm.hypercalls()
        .register(UNREGISTERED, |_| panic!("this handler panics on purpose"))
        .expect("the number is free");
}

fn panic_that_ends(setting: &Setting) -> CaseResult {
    let mut config = setting.config("core-calls", "");
    config.on_panic = PanicPolicy::EndVm;
    let run = run(config, Arguments::Any, LIMIT, provoke)?;
    run.expect_end(&End::HandlerPanicked {
        number: UNREGISTERED,
        message: "this handler panics on purpose".into(),
    })?;
    equal("panics counted", run.stats.panicked, 1)?;
    Ok(Verdict::Pass)
}

fn panicking_handler(setting: &Setting) -> CaseResult {
    let config = setting.config("core-calls", "");
    // The guest expects −ENOSYS of this number and gets −EIO: it panics with both, alive.
    let run = run(config, Arguments::Any, LIMIT, provoke)?;
    equal("panics counted", run.stats.panicked, 1)?;
    match &run.end {
        End::Panic(message) if message.contains("EIO") && message.contains("ENOSYS") => {
            Ok(Verdict::Pass)
        }
        other => Err(format!("ended with {other:?}")),
    }
}
