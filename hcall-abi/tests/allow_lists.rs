// SPDX-License-Identifier: MIT OR Apache-2.0
//! Allow-lists against sets of numbers, and that nothing makes one wider.

use hcall_abi::allow_list::{AllowList, ParseListError, RangeError};
use hcall_abi::ioctl::{NumberRange, RANGES_MAX};
use std::collections::BTreeSet;

fn range(first: u32, last: u32) -> NumberRange {
    NumberRange { first, last }
}

fn list(ranges: &[(u32, u32)]) -> AllowList {
    let ranges: Vec<_> = ranges.iter().map(|(a, b)| range(*a, *b)).collect();
    AllowList::new(&ranges).expect("valid ranges")
}

/// How many lists are compared each with each; Miri takes a tenth of a second for a pair.
const LISTS: usize = if cfg!(miri) { 8 } else { 300 };

/// Some lists of few ranges within 0..=LAST, the same in every run.
fn some_lists() -> Vec<Vec<(u32, u32)>> {
    const LAST: u64 = 15;
    let mut state = 1_u64;
    let mut next = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below
    };
    (0..LISTS)
        .map(|_| {
            (0..next(5))
                .map(|_| {
                    let first = next(LAST + 1);
                    (first as u32, (first + next(LAST + 1 - first)) as u32)
                })
                .collect()
        })
        .collect()
}

fn numbers(ranges: &[(u32, u32)]) -> BTreeSet<u32> {
    ranges.iter().flat_map(|(a, b)| *a..=*b).collect()
}

#[test]
fn list_is_the_set_of_its_numbers() {
    for ranges in some_lists() {
        let (list, numbers) = (list(&ranges), numbers(&ranges));
        for number in 0..32 {
            assert_eq!(
                list.contains(number),
                numbers.contains(&number),
                "{ranges:?} {number}"
            );
        }
        for pair in list.ranges().windows(2) {
            assert!(pair[0].last + 1 < pair[1].first, "{ranges:?}: {list}");
        }
    }
}

#[test]
fn covering_is_being_a_superset() {
    let lists = some_lists();
    let mut covered = 0;
    for outer in &lists {
        for inner in &lists {
            let expected = numbers(outer).is_superset(&numbers(inner));
            covered += usize::from(expected);
            assert_eq!(
                list(outer).covers(&list(inner)),
                expected,
                "{outer:?} {inner:?}"
            );
        }
    }
    assert!(covered > lists.len());
}

#[test]
fn limits() {
    let most = RANGES_MAX as usize;
    let apart: Vec<_> = (0..=RANGES_MAX).map(|n| range(2 * n, 2 * n)).collect();
    assert_eq!(AllowList::new(&apart), Err(RangeError::TooMany(most + 1)));
    let full = AllowList::new(&apart[1..]).expect("as many as may be");
    assert_eq!(full.ranges().len(), most);
    let backwards = range(2, 1);
    assert_eq!(
        AllowList::new(&[range(0, 0), backwards]),
        Err(RangeError::Backwards(backwards))
    );
}

#[test]
fn ends_of_the_numbers() {
    assert!(AllowList::EVERYTHING.covers(&list(&[(0, u32::MAX)])));
    let halves = list(&[(0x8000_0000, u32::MAX), (0, 0x7fff_ffff)]);
    assert_eq!(halves, AllowList::EVERYTHING);
    let last = list(&[(u32::MAX, u32::MAX), (u32::MAX, u32::MAX)]);
    assert_eq!(last.ranges(), [range(u32::MAX, u32::MAX)]);
    assert!(last.contains(u32::MAX) && !last.contains(0));
    assert!(!last.covers(&AllowList::EVERYTHING));
}

#[test]
fn nothing_covers_only_nothing() {
    let nothing = list(&[]);
    assert!(nothing.covers(&nothing));
    assert!(!nothing.covers(&list(&[(0, 0)])));
    assert!(!nothing.contains(0));
    assert!(list(&[(7, 7)]).covers(&nothing));
}

#[test]
fn words_for_people() {
    assert_eq!(list(&[]).to_string(), "none");
    let some = list(&[(0x3000, 0x3000), (0x10, 0x1f)]);
    assert_eq!(some.to_string(), "0x10-0x1f,0x3000");
    assert_eq!(
        AllowList::new(&[range(2, 1)]).unwrap_err().to_string(),
        "the range 0x2-0x1 ends before it begins"
    );
}

#[test]
fn what_is_displayed_is_read() {
    for ranges in some_lists() {
        let list = list(&ranges);
        assert_eq!(list.to_string().parse(), Ok(list));
    }
    let everything = AllowList::EVERYTHING;
    assert_eq!(everything.to_string().parse(), Ok(everything));
    assert_eq!("all".parse(), Ok(everything));
    assert_eq!(
        "10-0x1F,0x3000".parse(),
        Ok(list(&[(10, 31), (0x3000, 0x3000)]))
    );
    assert_eq!("4294967295".parse(), Ok(list(&[(u32::MAX, u32::MAX)])));
}

#[test]
fn what_is_no_list_is_not_read() {
    let read = |text: &str| text.parse::<AllowList>();
    for text in [
        "",
        " ",
        "0x",
        "+1",
        "-1",
        "1-",
        "1--2",
        "0x-1",
        "1_0",
        "0X1",
        "4294967296",
        "ALL",
        "1;2",
        "0x+1",
        "1\n",
        "\u{661}",
    ] {
        assert_eq!(read(text), Err(ParseListError::NotARange(1)), "{text:?}");
    }
    assert_eq!(read("1,2,"), Err(ParseListError::NotARange(3)));
    assert_eq!(read("1,none"), Err(ParseListError::NotARange(2)));
    let backwards = ParseListError::Ranges(RangeError::Backwards(range(2, 1)));
    assert_eq!(read("2-1"), Err(backwards));
    let numbers: Vec<String> = (0..40).map(|number| (2 * number).to_string()).collect();
    let most = RANGES_MAX as usize;
    assert!(read(&numbers[..most].join(",")).is_ok());
    let too_many = ParseListError::Ranges(RangeError::TooMany(40));
    assert_eq!(read(&numbers.join(",")), Err(too_many));
    assert_eq!(
        ParseListError::NotARange(2).to_string(),
        "part 2 is neither a number nor FIRST-LAST (decimal or 0x hexadecimal)"
    );
}
