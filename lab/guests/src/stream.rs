// SPDX-License-Identifier: MIT OR Apache-2.0
//! A ring kept busy: many calls, every answer checked.

use hcall_guest::abi::convention::Arguments;
use hcall_guest::unikernel::ring::UnikernelRing;
use hcall_guest::HypercallNumber;

/// Entries between two looks at whether the host wants the doorbell: so many that even a
/// host that sleeps each time costs less than an exit for a hundred calls.
const SHOWN_AT_ONCE: u64 = 128;

/// Calls `number` so often through a `ring` of `entries`, with the arguments of each call's
/// index; the host must answer as `expected` says of it. Returns how often the doorbell was
/// rung.
///
/// # Panics
///
/// If an answer is wrong, or the ring is served no more.
pub fn stream(
    ring: &mut UnikernelRing,
    entries: u32,
    calls: u64,
    number: HypercallNumber,
    arguments: impl Fn(u64) -> Arguments,
    expected: impl Fn(u64) -> u64,
) -> u64 {
    let (mut submitted, mut taken, mut doorbells) = (0, 0, 0);
    while taken < calls {
        while submitted < calls && ring.submit(number, arguments(submitted), submitted).is_ok() {
            submitted += 1;
            if submitted % SHOWN_AT_ONCE == 0 {
                doorbells += u64::from(ring.flush().is_some());
            }
        }
        doorbells += u64::from(ring.flush().is_some());
        // Room for the next entries; at the end, all.
        let left = if submitted < calls {
            u64::from(entries) - SHOWN_AT_ONCE
        } else {
            0
        };
        while u64::from(ring.outstanding()) > left {
            let answer = ring.wait().expect("the ring is served");
            assert_eq!(answer.user_data, taken, "in the order of submission");
            assert_eq!(answer.result, Ok(expected(taken)), "call {taken}");
            taken += 1;
        }
    }
    doorbells
}
