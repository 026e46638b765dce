// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table: registration, removal, and look-ups while both go on.

use crate::fake_vcpu::{call, host};
use hcall_abi::{Errno, HypercallNumber};
use hcall_vmm::{HypercallTable, TableError};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;

const FIRST: HypercallNumber = HypercallNumber::user(0);
const LAST: HypercallNumber = HypercallNumber::user(0x7fff);

fn foreign(number: u32) -> HypercallNumber {
    HypercallNumber::new(number).expect("a usable number")
}

#[test]
fn every_kind_of_number_can_be_registered_once_and_removed_once() {
    let table = HypercallTable::new();
    let numbers = [
        FIRST,
        LAST,
        foreign(0x4843_0000),
        foreign(13),
        foreign(0x3000),
        foreign(0x7fff_ffff),
    ];
    for number in numbers {
        assert_eq!(table.remove(number), Err(TableError::NotRegistered(number)));
        assert_eq!(
            table.replace(number, |_| Ok(0)),
            Err(TableError::NotRegistered(number))
        );
        assert_eq!(table.register(number, |_| Ok(0)), Ok(()));
        assert_eq!(
            table.register(number, |_| Ok(0)),
            Err(TableError::Duplicate(number))
        );
    }
    assert!(format!("{table:?}").contains('6'));
    for number in numbers {
        assert!(table.contains(number));
        assert_eq!(table.remove(number), Ok(()));
        assert!(!table.contains(number));
        assert_eq!(table.remove(number), Err(TableError::NotRegistered(number)));
    }
}

#[test]
fn each_number_has_its_own_handler() {
    let (host, _memory) = host();
    for offset in 0..2000 {
        host.hypercalls()
            .register(HypercallNumber::user(offset), move |_| Ok(offset.into()))
            .unwrap();
    }
    for offset in 0..2000 {
        let number = HypercallNumber::user(offset).get();
        assert_eq!(call(&host, number, [0; 4]), i64::from(offset));
    }
    host.hypercalls()
        .remove(HypercallNumber::user(1000))
        .unwrap();
    assert_eq!(call(&host, HypercallNumber::user(999).get(), [0; 4]), 999);
    assert_eq!(
        call(&host, HypercallNumber::user(1000).get(), [0; 4]),
        -i64::from(Errno::ENOSYS.get())
    );
}

#[test]
fn handlers_keep_state_and_lose_it_when_removed() {
    let (host, _memory) = host();
    let count = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&count);
    host.hypercalls()
        .register(FIRST, move |_| Ok(seen.fetch_add(1, Ordering::Relaxed)))
        .unwrap();
    assert_eq!(call(&host, FIRST.get(), [0; 4]), 0);
    assert_eq!(call(&host, FIRST.get(), [0; 4]), 1);
    host.hypercalls().remove(FIRST).unwrap();
    assert_eq!(Arc::strong_count(&count), 1);
}

#[test]
fn handler_may_change_the_table_that_it_is_called_from() {
    let (host, _memory) = host();
    let host = Arc::new(host);
    let weak = Arc::downgrade(&host);
    host.hypercalls()
        .register(FIRST, move |_| {
            let host = weak.upgrade().ok_or(Errno::EIO)?;
            host.hypercalls().remove(FIRST).map_err(|_| Errno::EBUSY)?;
            host.hypercalls()
                .register(LAST, |_| Ok(5))
                .map_err(|_| Errno::EBUSY)?;
            Ok(4)
        })
        .unwrap();
    assert_eq!(call(&host, FIRST.get(), [0; 4]), 4);
    assert_eq!(
        call(&host, FIRST.get(), [0; 4]),
        -i64::from(Errno::ENOSYS.get())
    );
    assert_eq!(call(&host, LAST.get(), [0; 4]), 5);
}

#[test]
fn calls_never_miss_a_handler_that_is_being_replaced() {
    let (host, _memory) = host();
    host.hypercalls().register(FIRST, |_| Ok(0)).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut last = 0;
                    while !done.load(Ordering::Acquire) {
                        let answer = call(&host, FIRST.get(), [0; 4]);
                        assert!(
                            answer >= last,
                            "an older handler answered: {answer} after {last}"
                        );
                        last = answer;
                    }
                })
            })
            .collect();
        for generation in 1..=1000 {
            host.hypercalls()
                .replace(FIRST, move |_| Ok(generation))
                .unwrap();
        }
        done.store(true, Ordering::Release);
        for caller in callers {
            caller.join().expect("no caller missed its handler");
        }
    });
    assert_eq!(host.counters().read().unknown, 0);
    assert_eq!(call(&host, FIRST.get(), [0; 4]), 1000);
}
