// SPDX-License-Identifier: MIT OR Apache-2.0
//! Millions of calls through a ring, with stalls of random length on both sides: none lost,
//! none doubled, all in order.
//!
//! Ten million in a release build (`cargo test --release --test ring`), fewer
//! otherwise.

use crate::machine::{setup, InterruptWait, Machine, GSI};
use hcall_abi::HypercallNumber;
use hcall_guest::ring::Rest;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

const NEXT: HypercallNumber = HypercallNumber::user(0x100);

const CALLS: u64 = if cfg!(debug_assertions) {
    300_000
} else {
    10_000_000
};

/// Numbers that look random and are the same in every run (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Mostly nothing, sometimes a pause, and rarely one after which the other side sleeps.
    fn stall(&mut self) {
        match self.next() % 65_536 {
            0..4 => std::thread::sleep(Duration::from_micros(200)),
            4..512 => {
                for _ in 0..self.next() % 4096 {
                    std::hint::spin_loop();
                }
            }
            _ => {}
        }
    }
}

fn transformed(value: u64) -> u64 {
    (value.rotate_left(17) ^ 0x5555) & i64::MAX as u64
}

#[test]
fn none_lost_none_doubled_none_reordered() {
    let machine = Machine::new();
    let served = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&served);
    let stalls = std::sync::Mutex::new(Random(0x9e37_79b9_7f4a_7c15));
    machine
        .host
        .hypercalls()
        .register(NEXT, move |call| {
            let expected = count.fetch_add(1, Ordering::Relaxed);
            if call.arg::<0>() != expected {
                return Err(hcall_abi::Errno::EILSEQ);
            }
            crate::machine::lock(&stalls).stall();
            Ok(transformed(call.arg::<1>()))
        })
        .expect("the number is free");
    let mut wanted = setup(256);
    wanted.interrupt = GSI;
    let (id, mut ring) = machine.set_up(&wanted);
    let interrupt = InterruptWait::new(machine.wiring.interrupt());

    let start = Instant::now();
    let mut random = Random(0x0123_4567_89ab_cdef);
    let (mut submitted, mut taken) = (0, 0);
    let (mut doorbells, mut waits) = (0_u64, 0_u64);
    while taken < CALLS {
        for _ in 0..=random.next() % 64 {
            let arguments = [submitted, submitted ^ 0xffff, 0, 0];
            if submitted < CALLS && ring.submit(NEXT, arguments, !submitted).is_ok() {
                submitted += 1;
            }
        }
        doorbells += u64::from(ring.flush().is_some());
        random.stall();
        let room = random.next() % 256;
        while u64::from(ring.outstanding()) > room {
            let Some(answer) = ring.complete() else {
                if random.next() % 4 == 0 && ring.listen() == Rest::Sleep {
                    interrupt.wait();
                    waits += 1;
                }
                std::hint::spin_loop();
                continue;
            };
            assert_eq!(answer.user_data, !taken, "in the order of submission");
            assert_eq!(
                answer.result,
                Ok(transformed(taken ^ 0xffff)),
                "call {taken}"
            );
            taken += 1;
        }
        if submitted == CALLS {
            // The rest is taken without submitting anything.
            while let Some(answer) = ring.complete() {
                assert_eq!(answer.user_data, !taken);
                assert_eq!(answer.result, Ok(transformed(taken ^ 0xffff)));
                taken += 1;
            }
        }
    }
    let elapsed = start.elapsed();
    assert_eq!(served.load(Ordering::Relaxed), CALLS, "each call came once");
    assert_eq!(machine.host.counters().ring_calls(), CALLS);
    assert_eq!(machine.tear_down(id), 0);
    assert!(doorbells > 0 && waits > 0, "both sides slept now and then");
    println!("{CALLS} calls in {elapsed:?}; {doorbells} doorbells, {waits} interrupts awaited");
}

/// Several rings at once, each with a guest thread of its own.
#[test]
fn rings_do_not_disturb_one_another() {
    const RINGS: u64 = 4;
    const EACH: u64 = CALLS / 100;
    let machine = Machine::new();
    machine
        .host
        .hypercalls()
        .register(NEXT, |call| Ok(transformed(call.arg::<0>())))
        .expect("the number is free");
    std::thread::scope(|scope| {
        for index in 0..RINGS {
            let mut wanted = setup(32);
            wanted.gpa += index * 0x1000;
            let (_, mut ring) = machine.set_up(&wanted);
            scope.spawn(move || {
                let base = index << 32;
                let (mut submitted, mut taken) = (0, 0);
                while taken < EACH {
                    while submitted < EACH
                        && ring
                            .submit(NEXT, [base + submitted, 0, 0, 0], base + submitted)
                            .is_ok()
                    {
                        submitted += 1;
                    }
                    let _ = ring.flush();
                    let Some(answer) = ring.complete() else {
                        std::thread::yield_now();
                        continue;
                    };
                    assert_eq!(answer.user_data, base + taken);
                    assert_eq!(answer.result, Ok(transformed(base + taken)));
                    taken += 1;
                }
            });
        }
    });
    assert_eq!(machine.host.counters().ring_calls(), RINGS * EACH);
}
