// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls whose answers come later. Command line: `later` checks them; `meanwhile` has the
//! other CPUs call while one waits; `never` makes one that has no answer.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use hcall_guest::abi::batch::BatchEntry;
use hcall_guest::abi::number::ECHO;
use hcall_guest::batch::{Batch, OnError};
use hcall_guest::unikernel::smp::{start_others, StartError};
use hcall_guest::unikernel::{batch, command_line, entry, exit, println};
use hcall_guest::{hcall0, hcall1, hcall2, Errno};
use hcall_lab_contract::{mix, DEFERRED_CALLS, DEFERRED_FOR, DROPPED, LATER, NEVER, NO_OTHER_CPUS};

entry!(main);

/// Calls of the other CPUs, and whether they are to end.
static CALLS: AtomicU64 = AtomicU64::new(0);
static END: AtomicU32 = AtomicU32::new(0);

fn main() {
    match command_line() {
        "later" => later(),
        "meanwhile" => meanwhile(),
        "never" => {
            println!("waiting");
            let answer = hcall0(NEVER);
            panic!("{answer:?} came");
        }
        other => panic!("no such case: {other}"),
    }
}

fn later() {
    for round in 0..DEFERRED_CALLS {
        let value = mix(1, [round; 4]);
        assert_eq!(
            hcall2(LATER, DEFERRED_FOR, value),
            Ok(value),
            "round {round}"
        );
    }
    let dropped = hcall1(DROPPED, DEFERRED_FOR).expect_err("nobody answers");
    assert_eq!(dropped.errno(), Some(Errno::EIO));

    // A batch waits for nobody, and its other entries are answered.
    let mut memory = [const { BatchEntry::new(ECHO, [0; 4]) }; 3];
    let mut calls = Batch::new(&mut memory);
    for (number, arguments) in [(ECHO, [1, 0]), (LATER, [DEFERRED_FOR, 2]), (ECHO, [3, 0])] {
        calls.push(number, &arguments).expect("there is room");
    }
    assert_eq!(batch(&mut calls, OnError::Continue), Ok(3));
    let refused = Err(Some(Errno::EOPNOTSUPP));
    for (index, due) in [Ok(1), refused, Ok(3)].into_iter().enumerate() {
        let result = calls.result(index).expect("it is answered");
        assert_eq!(result.map_err(|error| error.errno()), due, "entry {index}");
    }
    println!("answered later");
}

/// The others have their answers while this CPU waits for its own.
fn meanwhile() {
    match start_others(call_until_the_end) {
        Ok(_) => {}
        Err(error @ StartError::NotStarted(_)) => {
            println!("{error}");
            exit(NO_OTHER_CPUS)
        }
        Err(error) => panic!("{error}"),
    }
    while CALLS.load(Ordering::Relaxed) == 0 {
        core::hint::spin_loop();
    }
    // Longer, until the others have called: a busy machine runs one vCPU after the other.
    let mut wait = 50;
    loop {
        let before = CALLS.load(Ordering::Relaxed);
        assert_eq!(hcall2(LATER, wait, 9), Ok(9));
        let during = CALLS.load(Ordering::Relaxed) - before;
        if during > 2 {
            println!("others called meanwhile");
            break;
        }
        wait *= 2;
    }
    END.store(1, Ordering::Relaxed);
}

fn call_until_the_end(cpu: u32) {
    while END.load(Ordering::Relaxed) == 0 {
        assert_eq!(hcall1(ECHO, cpu.into()), Ok(cpu.into()));
        CALLS.fetch_add(1, Ordering::Relaxed);
    }
}
