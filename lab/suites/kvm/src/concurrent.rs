// SPDX-License-Identifier: MIT OR Apache-2.0
//! Four vCPUs call at once while the host swaps the handler that answers them: no call is
//! lost, made twice, or answered to another vCPU.

use crate::handlers::{lock, Arguments};
use crate::running::{run, Run};
use crate::unikernels::equal;
use hcall_abi::Transport;
use hcall_ktap::{CaseResult, Suite, Verdict};
use hcall_lab_contract::{concurrent_answer, CONCURRENT, NO_OTHER_CPUS};
use hcall_vmm::vmm::{End, TransportChoice, VcpuCount, Vm, VmConfig};
use hcall_vmm::{Errno, Hypercall, HypercallHost, HypercallResult};
use rustix::thread::sched_getcpu;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const VCPUS: u8 = 4;
const SWAPS: u64 = 1000;
/// The swaps are spread over this part of the calls, so that the last is made while there
/// are calls still.
const SWAPPED_PERCENT: u64 = 90;
const LIMIT: Duration = Duration::from_secs(120);
/// How often the swapper looks how far the calls are.
const LOOK: Duration = Duration::from_micros(100);

/// What this machine owes the case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// It must run.
    Required,
    /// The transport works here; whether other CPUs start is to be seen.
    Possible,
    /// The transport does not work here.
    Impossible,
}

/// How much of it there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// The most calls that each vCPU makes.
    pub(crate) most_calls: u64,
    /// The least number of processors of this machine that answer calls.
    pub(crate) processors: usize,
}

pub(crate) fn add_case<'a>(
    suite: Suite<'a>,
    guests: &Path,
    transport: Transport,
    due: Due,
    scale: Scale,
) -> Suite<'a> {
    let kernel = guests.join("concurrent");
    let calls = calls(transport).min(scale.most_calls);
    suite.case(
        format!("{transport}: {VCPUS} vCPUs, {calls} calls each, {SWAPS} swaps of the handler"),
        move || match due {
            Due::Impossible => Ok(Verdict::Skip(format!(
                "transport '{transport}' does not work on this machine's KVM"
            ))),
            _ => concurrent(&kernel, transport, due, calls, scale.processors),
        },
    )
}

/// Calls of each vCPU.
fn calls(transport: Transport) -> u64 {
    match transport {
        Transport::Instruction => 100_000,
        _ => 25_000,
    }
}

fn concurrent(
    kernel: &Path,
    transport: Transport,
    due: Due,
    calls: u64,
    processors: usize,
) -> CaseResult {
    require_processors(processors)?;
    let arrivals = Arc::new(Arrivals::default());
    let swapper = Mutex::new(None);
    let mut config = VmConfig::new(kernel);
    config.command_line = calls.to_string();
    config.vcpus = VcpuCount::new(VCPUS).map_err(|error| error.to_string())?;
    config.transport = TransportChoice::Only(transport);
    let finished = Arc::new(AtomicBool::new(false));
    let run = run(config, Arguments::Any, LIMIT, |vm: &Vm| {
        let (arrivals, finished) = (Arc::clone(&arrivals), Arc::clone(&finished));
        *lock(&swapper) = Some(start_swapping(
            vm.hypercall_host(),
            arrivals,
            finished,
            calls,
        ));
    });
    finished.store(true, Ordering::Relaxed);
    let swaps = match lock(&swapper).take() {
        Some(thread) => thread.join().map_err(|_| "the swapper panicked")?,
        None => 0,
    };
    let run = run?;
    if run.end == End::Exit(NO_OTHER_CPUS) && due == Due::Possible {
        let reason = format!("this KVM starts no other CPUs: {}", run.console.trim());
        return Ok(Verdict::Skip(reason));
    }
    if let Err(reason) = run.expect_end(&End::Exit(0)) {
        return Err(format!("after {} calls: {reason}", arrivals.total()));
    }
    equal("swaps while calls were made", swaps, SWAPS)?;
    arrivals.check(&run, calls)?;
    arrivals.check_processors(processors)?;
    Ok(Verdict::Pass)
}

/// This machine has as many processors.
fn require_processors(least: usize) -> Result<(), String> {
    let processors = thread::available_parallelism().map_err(|error| error.to_string())?;
    if processors.get() < least {
        return Err(format!(
            "this machine has {processors} processor(s), and the case requires {least}: see \
             --require-processors"
        ));
    }
    Ok(())
}

/// Registers the first handler, and swaps it for the other as the calls go on.
fn start_swapping(
    host: Arc<HypercallHost>,
    arrivals: Arc<Arrivals>,
    finished: Arc<AtomicBool>,
    calls: u64,
) -> JoinHandle<u64> {
    let handler = |which| {
        let arrivals = Arc::clone(&arrivals);
        move |call: &mut Hypercall<'_>| arrivals.answer(which, call)
    };
    let first = handler(0);
    host.hypercalls()
        .register(CONCURRENT, first)
        .expect("the number is free");
    let per_swap = calls * u64::from(VCPUS) * SWAPPED_PERCENT / 100 / SWAPS;
    let handlers = [handler(0), handler(1)];
    thread::spawn(move || {
        for swap in 1..=SWAPS {
            while arrivals.total() < swap * per_swap {
                if finished.load(Ordering::Relaxed) {
                    return swap - 1;
                }
                thread::sleep(LOOK);
            }
            let next = handlers[(swap % 2) as usize].clone();
            host.hypercalls()
                .replace(CONCURRENT, next)
                .expect("the number has a handler");
        }
        SWAPS
    })
}

/// What arrived from each vCPU: answers by each handler, and the first call out of order.
#[derive(Debug, Default)]
struct Arrivals {
    answered: [[AtomicU64; 2]; VCPUS as usize],
    /// A bit for each of this machine's first 64 processors on which a call was answered.
    processors: AtomicU64,
    wrong: Mutex<Option<String>>,
}

impl Arrivals {
    fn total(&self) -> u64 {
        self.answered.iter().map(sum).sum()
    }

    fn answer(&self, which: u64, call: &mut Hypercall<'_>) -> HypercallResult {
        let [vcpu, counter, ..] = call.args();
        let answered = usize::try_from(vcpu)
            .ok()
            .and_then(|vcpu| self.answered.get(vcpu));
        let answered = answered.ok_or(Errno::EINVAL)?;
        // Only this vCPU's thread counts here: the sum is the number of its calls so far.
        let expected = sum(answered);
        if call.vcpu_id().map(u64::from) != Some(vcpu) || counter != expected {
            lock(&self.wrong).get_or_insert(format!(
                "{:?} made call {counter} of vCPU {vcpu}, whose next is {expected}",
                call.origin()
            ));
        }
        self.note_processor();
        answered[which as usize].fetch_add(1, Ordering::Relaxed);
        Ok(concurrent_answer(which, vcpu, counter))
    }

    fn note_processor(&self) {
        let bit = u32::try_from(sched_getcpu())
            .ok()
            .and_then(|processor| 1_u64.checked_shl(processor))
            .unwrap_or(0);
        if self.processors.load(Ordering::Relaxed) & bit == 0 {
            self.processors.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// The calls were answered on as many processors of this machine.
    fn check_processors(&self, least: usize) -> Result<(), String> {
        let mask = self.processors.load(Ordering::Relaxed);
        let count = mask.count_ones();
        println!("# processors of this machine that answered: {count} (mask {mask:#x})");
        if usize::try_from(count).is_ok_and(|count| count < least) {
            return Err(format!(
                "calls were answered on {count} processor(s), and the case requires {least}"
            ));
        }
        Ok(())
    }

    /// Every call came once and in order, and what the guest counted is what came.
    fn check(&self, run: &Run, calls: u64) -> Result<(), String> {
        if let Some(wrong) = lock(&self.wrong).clone() {
            return Err(wrong);
        }
        let mut counts = String::new();
        for (vcpu, answered) in self.answered.iter().enumerate() {
            equal(&format!("calls of vCPU {vcpu}"), sum(answered), calls)?;
            let [first, second] = answered
                .each_ref()
                .map(|count| count.load(Ordering::Relaxed));
            counts.push_str(&format!("{vcpu} {first} {second}\n"));
            if first == 0 || second == 0 {
                return Err(format!(
                    "vCPU {vcpu} saw one handler only: {first}, {second}"
                ));
            }
        }
        println!("# answers to each vCPU by each handler:");
        for line in counts.lines() {
            println!("#   {line}");
        }
        equal(
            "what the guest counted",
            run.console.as_str(),
            counts.as_str(),
        )
    }
}

fn sum(answered: &[AtomicU64; 2]) -> u64 {
    answered
        .iter()
        .map(|count| count.load(Ordering::Relaxed))
        .sum()
}
