// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls through a ring, on this machine's KVM: doorbell by ioeventfd, a thread of the VMM
//! that answers, and how much faster that is than single calls.

use crate::handlers::Arguments;
use crate::running::{run_unconfined, Run};
use crate::unikernels::equal;
use hcall_abi::Transport;
use hcall_ktap::{CaseResult, Suite, Verdict};
use hcall_lab_contract::{RING_IDLE, RING_IDLE_MILLISECONDS};
use hcall_vmm::vmm::{End, TransportChoice, Vm, VmConfig};
use hcall_vmm::{Errno, HypercallResult};
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread::{available_parallelism, sleep};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
/// Calls through the ring, and single ones to compare with.
const CALLS: u64 = 200_000;
const SINGLE_CALLS: u64 = 5_000;
/// An exit for so many calls is allowed in the steady state.
const CALLS_PER_EXIT: u64 = 100;
/// When a ring that has nothing to do must be asleep.
const ASLEEP: Duration = Duration::from_millis(10);

/// What is asked of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demands {
    /// The most calls through the ring.
    pub(crate) calls: u64,
    /// The least speed-up over single calls, with two processors.
    pub(crate) speedup: Option<u64>,
}

pub(crate) fn add_case<'a>(
    suite: Suite<'a>,
    guests: &Path,
    transport: Transport,
    wanted: bool,
    demands: Demands,
) -> Suite<'a> {
    let kernel = guests.join("ring");
    let calls = demands.calls.min(CALLS);
    suite.case(
        format!("{transport}: {calls} calls through a ring, idle, restricted and broken rings"),
        move || {
            if wanted {
                through_a_ring(&kernel, transport, calls, demands)
            } else {
                Ok(Verdict::Skip(format!(
                    "transport '{transport}' does not work on this machine's KVM"
                )))
            }
        },
    )
}

fn through_a_ring(kernel: &Path, transport: Transport, calls: u64, demands: Demands) -> CaseResult {
    let mut config = VmConfig::new(kernel);
    config.command_line = format!("{calls} {}", calls.min(SINGLE_CALLS));
    config.transport = TransportChoice::Only(transport);
    let run = run_unconfined(config, Arguments::Any, LIMIT, |vm: &Vm| {
        vm.hypercalls()
            .register(RING_IDLE, |_| time_while_idle())
            .expect("the number is free");
    })?;
    run.expect_end(&End::Exit(0))?;

    let [single_time, single_calls] = figures(&run, "single")?;
    let [quickest, calls_of_round, ring_calls, doorbells, exits] = figures(&run, "ring")?;
    let [idle] = figures(&run, "idle")?;
    equal("calls through the ring", ring_calls, calls)?;
    equal("nanoseconds that an idle ring's thread ran", idle, 0)?;
    let per_second = |calls: u64, nanoseconds: u64| {
        (u128::from(calls) * 1_000_000_000 / u128::from(nanoseconds.max(1))) as u64
    };
    let (ring, single) = (
        per_second(calls_of_round, quickest),
        per_second(single_calls, single_time),
    );
    println!(
        "# {transport}: {ring} calls a second through a ring, {single} one by one: {}.{} times; \
         {doorbells} doorbells and {exits} exits for {ring_calls} calls",
        ring / single.max(1),
        ring * 10 / single.max(1) % 10
    );
    if exits * CALLS_PER_EXIT > ring_calls {
        return Err(format!(
            "{exits} exits for {ring_calls} calls through the ring, more than one for \
             {CALLS_PER_EXIT}"
        ));
    }
    check_speedup(ring, single, demands.speedup)?;
    Ok(Verdict::Pass)
}

fn check_speedup(ring: u64, single: u64, wanted: Option<u64>) -> Result<(), String> {
    let processors = available_parallelism().map_or(1, NonZero::get);
    match wanted {
        Some(wanted) if processors > 1 && ring < single * wanted => Err(format!(
            "{ring} calls a second through a ring, {single} one by one: not {wanted} times, with \
             {processors} processors"
        )),
        Some(wanted) if processors == 1 => {
            println!("# the {wanted}-fold is not asked of a machine with one processor");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The numbers in the console's line that begins with `name`.
fn figures<const COUNT: usize>(run: &Run, name: &str) -> Result<[u64; COUNT], String> {
    run.console
        .lines()
        .filter_map(|line| line.strip_prefix(name))
        .find_map(|rest| {
            let numbers: Option<Vec<u64>> = rest
                .split_whitespace()
                .map(|word| word.parse().ok())
                .collect();
            numbers?.try_into().ok()
        })
        .ok_or_else(|| {
            format!(
                "no line '{name}' with {COUNT} numbers on the console:\n{}",
                run.console
            )
        })
}

/// How long the ring's thread runs while the guest, whose vCPU waits here, does nothing.
fn time_while_idle() -> HypercallResult {
    sleep(ASLEEP);
    let before = ring_thread_time().ok_or(Errno::ESRCH)?;
    sleep(Duration::from_millis(RING_IDLE_MILLISECONDS));
    let after = ring_thread_time().ok_or(Errno::ESRCH)?;
    Ok(after - before)
}

/// Nanoseconds that the one ring's thread of this process has run.
fn ring_thread_time() -> Option<u64> {
    let thread = ring_thread()?;
    let statistics = fs::read_to_string(thread.join("schedstat")).ok()?;
    statistics.split(' ').next()?.parse().ok()
}

fn ring_thread() -> Option<PathBuf> {
    let threads = fs::read_dir("/proc/self/task").ok()?;
    threads
        .filter_map(|thread| Some(thread.ok()?.path()))
        .find(|thread| {
            fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.starts_with("ring-"))
        })
}
