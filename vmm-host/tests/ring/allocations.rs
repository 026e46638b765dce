// SPDX-License-Identifier: MIT OR Apache-2.0
//! A call through a ring allocates nothing on the ring's thread.

use crate::machine::{eventually, setup, Machine};
use hcall_abi::HypercallNumber;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

const COUNT: HypercallNumber = HypercallNumber::user(0x500);

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting for each thread.
struct Counting;

// SAFETY: everything is the system's; the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller vouches.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller vouches.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_call_allocates_nothing() {
    const CALLS: u64 = 1000;
    let machine = Machine::new();
    machine
        .host
        .hypercalls()
        .register(COUNT, |call| {
            // A call that does allocate shows that allocations are counted.
            if call.arg::<0>() == CALLS {
                drop(vec![0_u8; 1]);
            }
            Ok(ALLOCATIONS.with(Cell::get))
        })
        .expect("the number is free");
    let (_, mut ring) = machine.set_up(&setup(16));
    let mut allocations = Vec::new();
    for index in 0..=CALLS {
        ring.submit(COUNT, [index, 0, 0, 0], index).expect("room");
        let _ = ring.flush();
        eventually("an answer", || {
            let answer = ring.complete();
            allocations.extend(answer.and_then(|answer| answer.result.ok()));
            answer.is_some()
        });
    }
    // The first may find the thread at its first look into the table.
    let [_, first, .., last, control] = allocations[..] else {
        panic!("not as many answers as calls");
    };
    assert_eq!(last - first, 0, "allocations in {} calls", CALLS - 2);
    assert_eq!(control - last, 1, "allocations are counted");
}
