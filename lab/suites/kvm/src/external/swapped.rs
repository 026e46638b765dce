// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest calls one number again and again while its handler is this process, that process, or
//! none: each call is answered by one of them, and each of them knows of as many.

use super::process::HandlerProcess;
use super::Setting;
use crate::handlers::Arguments;
use crate::running::{run, Run};
use crate::unikernels::equal;
use hcall_abi::Transport;
use hcall_ktap::{CaseResult, Verdict};
use hcall_lab_contract::{SWAPPED, SWAPPED_BEGINS};
use hcall_vmm::extend::external::{ExternalHandler, TIME_LIMIT};
use hcall_vmm::vmm::{End, TransportChoice, Vm, VmConfig};
use hcall_vmm::HypercallHost;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

pub(super) const CALLS: u64 = 100_000;
/// Rounds of: this process, that process, none.
const ROUNDS: u64 = 30;
/// Of a round's calls, in percent, those after which the one takes the other's place, and
/// those after which there is none.
const REPLACED: u64 = 45;
const REMOVED: u64 = 95;
const LIMIT: Duration = Duration::from_secs(600);
/// How often the swapper looks how far the calls are.
const LOOK: Duration = Duration::from_micros(500);

pub(super) fn run_case(setting: &Setting, transport: Transport) -> CaseResult {
    let program = setting.handlers.join("handler-process");
    let this = HandlerProcess::start(&program, &["1"])?;
    let that = HandlerProcess::start(&program, &["2"])?;
    let mut config = VmConfig::new(setting.guests.join("swapped"));
    config.command_line = CALLS.to_string();
    config.transport = TransportChoice::Only(transport);

    let finished = AtomicBool::new(false);
    let start = Instant::now();
    let (run, swapped) = thread::scope(|scope| {
        let mut swapper = None;
        let outcome = run(config, Arguments::Any, LIMIT, |vm: &Vm| {
            let host = vm.hypercall_host();
            let (this, that, finished) = (&this, &that, &finished);
            swapper = Some(scope.spawn(move || swap(&host, this, that, finished)));
        });
        finished.store(true, Ordering::Relaxed);
        let swapped = swapper.map(|thread| thread.join());
        (outcome, swapped)
    });
    let took = start.elapsed();
    let run = run?;
    swapped
        .ok_or("there was no VM")?
        .map_err(|_| "the swapper panicked")??;
    run.expect_end(&End::Exit(0))?;
    println!("# {CALLS} calls in {took:.1?}, the boot included");
    check(&run, [this.finish()?, that.finish()?])?;
    Ok(Verdict::Pass)
}

/// Goes through the rounds as the calls go on.
fn swap(
    host: &Arc<HypercallHost>,
    this: &HandlerProcess,
    that: &HandlerProcess,
    finished: &AtomicBool,
) -> Result<(), String> {
    let table = host.hypercalls();
    let connect = |process: &HandlerProcess| {
        let handler = ExternalHandler::new(process.connect()?, SWAPPED, TIME_LIMIT)
            .map_err(|error| error.to_string())?;
        Ok::<_, String>(handler.into_handler())
    };
    let wait = |round: u64, percent: u64| {
        let calls = (round * 100 + percent) * CALLS / (ROUNDS * 100);
        while host.counters().read().calls < calls {
            if finished.load(Ordering::Relaxed) {
                return Err(format!("the guest ended in round {round}"));
            }
            thread::sleep(LOOK);
        }
        Ok(())
    };
    let failed = |error: hcall_vmm::TableError| error.to_string();
    for round in 0..ROUNDS {
        table.register(SWAPPED, connect(this)?).map_err(failed)?;
        wait(round, REPLACED)?;
        table.replace(SWAPPED, connect(that)?).map_err(failed)?;
        wait(round, REMOVED)?;
        table.remove(SWAPPED).map_err(failed)?;
        if round + 1 < ROUNDS {
            wait(round, 100)?;
        }
    }
    Ok(())
}

/// What a guest counted, by answer.
pub(super) fn counted(run: &Run) -> Result<BTreeMap<String, u64>, String> {
    let (_, lines) = run
        .console
        .split_once(SWAPPED_BEGINS)
        .ok_or_else(|| format!("the guest said: {}", run.console))?;
    let line = |line: &str| {
        let (answer, count) = line.split_once(' ')?;
        Some((answer.to_owned(), count.parse().ok()?))
    };
    lines
        .trim()
        .lines()
        .map(|text| line(text).ok_or_else(|| format!("the guest said: {text}")))
        .collect()
}

fn check(run: &Run, answered: [u64; 2]) -> Result<(), String> {
    let counted = counted(run)?;
    println!("# answers: {counted:?}");
    let count = |answer: &str| counted.get(answer).copied().unwrap_or(0);
    let [this, that] = answered;
    equal("answers by this process", count("1"), this)?;
    equal("answers by that process", count("2"), that)?;
    equal("calls", this + that + count("ENOSYS"), CALLS)?;
    equal("kinds of answers", counted.len(), 3)?;
    Ok(())
}
