// SPDX-License-Identifier: MIT OR Apache-2.0
//! A handler's process that does not answer, and then is killed in the midst of a call: the
//! guest has an error by the time limit, and at once; and the VM goes on with another handler.

use super::process::HandlerProcess;
use super::swapped::counted;
use super::Setting;
use crate::handlers::{lock, Arguments};
use crate::running::run;
use crate::unikernels::equal;
use hcall_abi::Transport;
use hcall_ktap::{CaseResult, Verdict};
use hcall_lab_contract::SWAPPED;
use hcall_vmm::extend::external::ExternalHandler;
use hcall_vmm::table::Handler;
use hcall_vmm::vmm::{End, TransportChoice, Vm, VmConfig};
use hcall_vmm::{Hypercall, HypercallHost};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const CALLS: u64 = 20_000;
/// What a call of the handler's may take.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// So much later than the limit is this machine's fault, and no more.
const SLACK: Duration = Duration::from_secs(2);
/// How long a call is left alone before the process is killed.
const UNDER_WAY: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(120);

/// When each call of the handler began.
type Arrivals = Arc<Mutex<Vec<Instant>>>;

pub(super) fn run_case(setting: &Setting, transport: Transport) -> CaseResult {
    let program = setting.handlers.join("handler-process");
    let mut holding = HandlerProcess::start(&program, &["hold"])?;
    let next = HandlerProcess::start(&program, &["3"])?;
    let mut config = VmConfig::new(setting.guests.join("swapped"));
    config.command_line = CALLS.to_string();
    config.transport = TransportChoice::Only(transport);
    let arrivals = Arrivals::default();
    // Greeted before there is a guest that could call.
    let timed = timed(connect(&holding)?, &arrivals);
    let killer = holding.killer()?;
    let (run, times) = thread::scope(|scope| {
        let mut thread = None;
        let (holding, next, arrivals) = (&mut holding, &next, &arrivals);
        let outcome = run(config, Arguments::Any, LIMIT, |vm: &Vm| {
            let host = vm.hypercall_host();
            let registered = host.hypercalls().register(SWAPPED, timed);
            registered.expect("the number is free");
            thread = Some(scope.spawn(move || kill_in_a_call(&host, holding, next, arrivals)));
        });
        // Whatever has happened, nobody waits any more for what the process says.
        killer.kill();
        (outcome, thread.map(|thread| thread.join()))
    });
    let run = run?;
    let times = times
        .ok_or("there was no VM")?
        .map_err(|_| "the killing thread panicked")??;
    run.expect_end(&End::Exit(0))?;
    println!("# given up {:.1?} after the call", times.given_up);
    println!("# an error {:.1?} after SIGKILL", times.told);
    if times.given_up < TIME_LIMIT || times.given_up > TIME_LIMIT + SLACK {
        return Err(format!("given up after {:?}", times.given_up));
    }
    if times.told > TIME_LIMIT {
        return Err(format!("told {:?} after SIGKILL", times.told));
    }
    let counted = counted(&run)?;
    println!("# answers: {counted:?}");
    let count = |answer: &str| counted.get(answer).copied().unwrap_or(0);
    equal("calls that were given up", count("ETIMEDOUT"), 1)?;
    equal("answers by the next process", count("3"), next.finish()?)?;
    equal("calls", 1 + count("EIO") + count("3"), CALLS)?;
    if count("EIO") == 0 || count("3") == 0 {
        return Err("one of them is missing".into());
    }
    Ok(Verdict::Pass)
}

struct Times {
    /// From a call to the guest's next one, which it makes when it has an error.
    given_up: Duration,
    /// From the kill to the guest's next call.
    told: Duration,
}

fn connect(process: &HandlerProcess) -> Result<ExternalHandler, String> {
    ExternalHandler::new(process.connect()?, SWAPPED, TIME_LIMIT).map_err(|error| error.to_string())
}

/// The handler, with a note of each call.
fn timed(handler: ExternalHandler, arrivals: &Arrivals) -> impl Handler {
    let arrivals = Arc::clone(arrivals);
    move |call: &mut Hypercall<'_>| {
        lock(&arrivals).push(Instant::now());
        handler.call(call)
    }
}

fn kill_in_a_call(
    host: &Arc<HypercallHost>,
    holding: &mut HandlerProcess,
    next: &HandlerProcess,
    arrivals: &Arrivals,
) -> Result<Times, String> {
    // The process is in the first call when that is given up, and has the second when it ends.
    equal("what the process says", holding.line()?.as_str(), "holding")?;
    wait_for_arrival(arrivals, 1)?;
    thread::sleep(UNDER_WAY);
    let killed = Instant::now();
    holding.kill()?;
    let third = wait_for_arrival(arrivals, 2)?;
    host.hypercalls()
        .replace(SWAPPED, connect(next)?.into_handler())
        .map_err(|error| error.to_string())?;
    let first = wait_for_arrival(arrivals, 0)?;
    let second = wait_for_arrival(arrivals, 1)?;
    Ok(Times {
        given_up: second - first,
        told: third.saturating_duration_since(killed),
    })
}

fn wait_for_arrival(arrivals: &Arrivals, index: usize) -> Result<Instant, String> {
    let start = Instant::now();
    while start.elapsed() < TIME_LIMIT * 4 {
        if let Some(arrival) = lock(arrivals).get(index) {
            return Ok(*arrival);
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(format!("call {index} did not come"))
}
