// SPDX-License-Identifier: MIT OR Apache-2.0
//! Allow-lists: from text and from ranges, against what the ranges say.

use crate::input::Input;
use hcall_abi::allow_list::AllowList;
use hcall_abi::ioctl::NumberRange;

/// A text, or ranges, or both of two lists.
pub fn allow_list(data: &[u8]) {
    let mut input = Input::new(data);
    match input.u8() % 2 {
        0 => text(input.rest()),
        _ => ranges(&mut input),
    }
}

fn text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match text.parse::<AllowList>() {
        Ok(list) => {
            assert_canonical(&list);
            let displayed = list.to_string();
            assert_eq!(displayed.parse(), Ok(list), "{displayed}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn ranges(input: &mut Input<'_>) {
    let mut given = Vec::new();
    while !input.is_empty() && given.len() < 20 {
        let first = input.number(&[0, 0x4843_0000, u32::MAX.into()]) as u32;
        let length = input.number(&[]) as u32;
        given.push(NumberRange {
            first,
            last: first.wrapping_add(length),
        });
    }
    let Ok(list) = AllowList::new(&given) else {
        let backwards = given.iter().any(|range| range.last < range.first);
        return assert!(
            backwards || given.len() > 16,
            "good ranges were refused: {given:?}"
        );
    };
    assert_canonical(&list);
    assert!(AllowList::EVERYTHING.covers(&list) && list.covers(&list));
    let edges = given.iter().flat_map(|range| {
        [
            range.first,
            range.last,
            range.first.wrapping_sub(1),
            range.last.wrapping_add(1),
        ]
    });
    for number in edges {
        let expected = given
            .iter()
            .any(|range| (range.first..=range.last).contains(&number));
        assert_eq!(list.contains(number), expected, "{number:#x} in {list}");
    }
    let half = AllowList::new(&given[..given.len() / 2]).expect("part of a list is one");
    assert!(list.covers(&half), "{list} does not cover {half}");
    if half.covers(&list) {
        assert_eq!(half, list);
    }
}

/// Ascending, with a gap before each but the first.
fn assert_canonical(list: &AllowList) {
    assert!(list.ranges().iter().all(|range| range.first <= range.last));
    let gaps = list.ranges().windows(2);
    for pair in gaps {
        assert!(
            u64::from(pair[0].last) + 1 < u64::from(pair[1].first),
            "{list}"
        );
    }
}
