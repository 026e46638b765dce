// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest with several processors: that they are all there, interrupt each other, have
//! timers and one clock, and make hypercalls at once.

mod calling;
mod clocks;
mod interrupts;
mod pages;
mod present;
mod sharing;

pub(crate) use calling::call_on;

use super::{kernel, loading, rings};
use crate::context::Context;
use crate::failure::{equal, passes, Check, Failure};
use crate::Kernel;
use hcall_guest::abi::Transport;
use hcall_ktap::Suite;
use rustix::thread::{sched_setaffinity, CpuSet};
use std::thread;

/// What is due in a guest with `count` processors whose host offers `transport`.
pub(crate) fn several(context: &Context, transport: Transport, count: usize) -> Suite<'_> {
    let suite = Suite::new("processors")
        .case(
            format!("{count} processors are online, in one package"),
            move || passes(present::online(count)),
        )
        .case("each is the one of its number", move || {
            passes(present::numbered(count))
        })
        .case(
            "IPIs are sent by hypercall exactly if KVM takes it",
            move || passes(present::sends_by_hypercall(transport)),
        )
        .case("membarrier interrupts every other processor", move || {
            passes(interrupts::membarrier_interrupts(count))
        })
        .case("processors wake each other, with one clock", move || {
            passes(clocks::wake_in_turn(count))
        })
        .case("a page replaced by one is replaced for all", move || {
            passes(pages::replaced_for_all(count))
        })
        .case("timers fire on each", move || {
            passes(clocks::timers_fire(count))
        })
        .case("the clock source is kvm-clock", || passes(clocks::source()))
        .case("the module loads", || passes(loading::loads(context)))
        .case("processes on all of them call at once", move || {
            passes(calling::all_call(transport, count))
        })
        .case(
            "threads on all of them share a file, with every request",
            move || passes(sharing::one_file(count)),
        )
        .case("an interrupt ends a wait for a ring", || {
            passes(rings::interrupted())
        });
    kernel::add(suite, context, Kernel::Stock)
}

/// Keeps the calling thread on `processor`.
fn pin(processor: usize) -> Check {
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(None, &set)
        .map_err(|error| Failure::new(format!("cannot run on processor {processor}: {error}")))
}

/// Runs `body` on each of the processors at once, on a thread that stays there.
fn on_each<F>(count: usize, body: F) -> Check
where
    F: Fn(usize) -> Check + Sync,
{
    let body = &body;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|processor| scope.spawn(move || pin(processor).and_then(|()| body(processor))))
            .collect();
        let failures: Vec<String> = threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(Failure::new("a thread panicked")))
            })
            .enumerate()
            .filter_map(|(processor, end)| {
                end.err()
                    .map(|failure| format!("processor {processor}: {failure}"))
            })
            .collect();
        equal("failures", failures, Vec::new())
    })
}
