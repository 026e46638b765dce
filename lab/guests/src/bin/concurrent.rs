// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls from every CPU at once, as many from each as the command line says; each CPU
//! checks every answer to be its own, and counts which of the host's handlers gave it.
//! The counts are printed at the end, a line for each CPU.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use hcall_guest::hcall2;
use hcall_guest::unikernel::smp::{start_others, StartError, MAX_CPUS};
use hcall_guest::unikernel::{command_line, entry, exit, guest_info, println};
use hcall_lab_contract::{concurrent_answer, CONCURRENT, NO_OTHER_CPUS};

entry!(main);

/// Answers by each handler to each CPU.
static ANSWERS: [[AtomicU64; 2]; MAX_CPUS as usize] =
    [const { [const { AtomicU64::new(0) }; 2] }; MAX_CPUS as usize];
/// How many calls each CPU makes.
static CALLS: AtomicU64 = AtomicU64::new(0);
/// CPUs that may begin, so that all do so together, and CPUs that are done.
static BEGIN: AtomicU32 = AtomicU32::new(0);
static DONE: AtomicU32 = AtomicU32::new(0);

fn main() {
    let calls = command_line().parse().expect("a number of calls");
    CALLS.store(calls, Ordering::Relaxed);
    let count = match start_others(work) {
        Ok(count) => count,
        Err(error @ StartError::NotStarted(_)) => {
            println!("{error}");
            exit(NO_OTHER_CPUS)
        }
        Err(error) => panic!("{error}"),
    };
    BEGIN.store(1, Ordering::Release);
    work(0);
    while DONE.load(Ordering::Acquire) < count {
        core::hint::spin_loop();
    }
    for (cpu, answers) in ANSWERS.iter().enumerate().take(count as usize) {
        let [first, second] = answers
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed));
        println!("{cpu} {first} {second}");
    }
}

fn work(cpu: u32) {
    while BEGIN.load(Ordering::Acquire) == 0 {
        core::hint::spin_loop();
    }
    let info = guest_info().expect("GUEST_INFO");
    assert_eq!(info.vcpu, cpu, "GUEST_INFO names the vCPU that calls");
    for counter in 0..CALLS.load(Ordering::Relaxed) {
        let answer = hcall2(CONCURRENT, cpu.into(), counter);
        let which =
            (0..2).find(|which| answer == Ok(concurrent_answer(*which, cpu.into(), counter)));
        let Some(which) = which else {
            panic!("CPU {cpu}, call {counter}: {answer:x?} is not its answer");
        };
        ANSWERS[cpu as usize][which as usize].fetch_add(1, Ordering::Relaxed);
    }
    DONE.fetch_add(1, Ordering::Release);
}
