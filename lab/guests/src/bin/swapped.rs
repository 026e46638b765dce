// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls `SWAPPED(counter)` as often as the command line says, while somebody outside swaps,
//! removes and adds its handler; counts the answers, and prints how often each was given.
#![no_std]
#![no_main]

use hcall_guest::abi::Errno;
use hcall_guest::hcall1;
use hcall_guest::unikernel::{command_line, entry, println};
use hcall_lab_contract::{SWAPPED, SWAPPED_BEGINS, SWAPPED_VALUES};

/// How many different errnos are counted; a handler that gives more is no test's.
const ERRNOS: usize = 8;

entry!(main);

fn main() {
    let calls: u64 = command_line().parse().expect("a number of calls");
    let mut values = [0_u64; SWAPPED_VALUES];
    let mut others = 0_u64;
    let mut errnos = [None; ERRNOS];
    println!("{SWAPPED_BEGINS}");
    for counter in 0..calls {
        match hcall1(SWAPPED, counter) {
            Ok(value) => {
                let known = usize::try_from(value)
                    .ok()
                    .and_then(|value| values.get_mut(value));
                *known.unwrap_or(&mut others) += 1;
            }
            Err(error) => match error.errno() {
                Some(errno) => count(&mut errnos, errno),
                None => panic!("call {counter}: {error}"),
            },
        }
    }
    for (value, count) in values.iter().enumerate().filter(|(_, count)| **count > 0) {
        println!("{value} {count}");
    }
    if others > 0 {
        println!("others {others}");
    }
    for (errno, count) in errnos.into_iter().flatten() {
        println!("{} {count}", errno.name().unwrap_or("unnamed"));
    }
}

/// Counts `errno` among those that were seen, or as a new one.
fn count(errnos: &mut [Option<(Errno, u64)>; ERRNOS], errno: Errno) {
    let place = errnos
        .iter_mut()
        .find(|place| place.is_none_or(|(seen, _)| seen == errno))
        .expect("a handler with as many errnos is no test's");
    let (_, count) = place.get_or_insert((errno, 0));
    *count += 1;
}
