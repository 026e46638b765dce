// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which numbers can be had, whose the others are, and what the core calls say of
//! themselves.

use hcall_abi::number::{
    CORE_CALLS, CORE_FIRST, CORE_LAST, HYPERV_BIT, KVM_LAST, USER_FIRST, USER_LAST, XEN_NUMBERS,
};
use hcall_abi::{HypercallNumber, NumberError};

/// Everything small, and both sides of every border.
fn interesting() -> impl Iterator<Item = u32> {
    let borders = [
        CORE_FIRST,
        CORE_LAST,
        USER_FIRST,
        USER_LAST,
        HYPERV_BIT,
        u32::MAX,
    ];
    (0..=0x400).chain(
        borders
            .into_iter()
            .flat_map(|border| border.saturating_sub(2)..=border.saturating_add(2)),
    )
}

#[test]
fn a_number_is_usable_exactly_if_nobody_else_may_take_it() {
    for number in interesting() {
        let expected = if number <= KVM_LAST {
            Err(NumberError::Kvm(number))
        } else if number & HYPERV_BIT != 0 {
            Err(NumberError::HyperV(number))
        } else if XEN_NUMBERS.contains(&number) {
            Err(NumberError::Xen(number))
        } else {
            Ok(number)
        };
        assert_eq!(HypercallNumber::new(number).map(u32::from), expected);
        assert_eq!(HypercallNumber::try_from(number).map(u32::from), expected);
    }
}

#[test]
fn the_refused_are_these() {
    let refused: Vec<u32> = (0..0x400)
        .filter(|number| HypercallNumber::new(*number).is_err())
        .collect();
    assert_eq!(
        refused,
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 17, 24, 29, 32]
    );
}

#[test]
fn numbers_of_palacios_can_be_had() {
    for number in [
        0x0535, 0x0600, 0x1000, 0x3000, 0x3001, 0xba00, 0xc0c0, 0xd000,
    ] {
        assert_eq!(
            HypercallNumber::new(number).map(HypercallNumber::get),
            Ok(number)
        );
    }
}

#[test]
fn user_numbers_fill_their_range() {
    assert_eq!(HypercallNumber::user(0).get(), USER_FIRST);
    assert_eq!(HypercallNumber::user(0x7fff).get(), USER_LAST);
}

#[test]
#[should_panic(expected = "offset outside the user range")]
fn an_offset_beyond_the_user_range_panics() {
    let _ = HypercallNumber::user(0x8000);
}

#[test]
fn a_refusal_names_number_owner_and_remedy() {
    for (number, owner) in [(5, "KVM"), (17, "Xen"), (0x8000_0001, "Hyper-V")] {
        let message = HypercallNumber::new(number).unwrap_err().to_string();
        for part in [&format!("{number:#x}"), owner, "0x48438000..=0x4843ffff"] {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }
}

#[test]
fn core_calls_are_distinct_and_in_their_range() {
    for (index, (number, name)) in CORE_CALLS.into_iter().enumerate() {
        assert!((CORE_FIRST..=CORE_LAST).contains(&number.get()), "{name}");
        assert_eq!(number.name(), Some(name), "found under another name");
        for (other, other_name) in &CORE_CALLS[..index] {
            assert_ne!((number, name), (*other, *other_name));
            assert_ne!(number, *other);
        }
    }
}

#[test]
fn numbers_outside_the_core_have_neither_name_nor_known_arguments() {
    for number in [
        HypercallNumber::user(0),
        HypercallNumber::new(0x3000).unwrap(),
        HypercallNumber::new(CORE_LAST).unwrap(),
    ] {
        assert_eq!(number.name(), None);
        assert_eq!(number.gpa_index(), None);
        assert!(!number.takes_gpa());
        assert!(!number.ends_the_vm());
    }
}

#[test]
fn a_known_gpa_argument_is_a_gpa_argument() {
    for (number, name) in CORE_CALLS {
        assert!(number.gpa_index().is_none() || number.takes_gpa(), "{name}");
    }
}

#[test]
fn what_ends_the_vm_is_in_no_ring() {
    let ending: Vec<&str> = CORE_CALLS
        .into_iter()
        .filter(|(number, _)| number.ends_the_vm())
        .map(|(number, name)| {
            assert!(!number.may_be_in_ring(), "{name}");
            name
        })
        .collect();
    assert_eq!(ending, ["EXIT", "PANIC"]);
}

#[test]
fn numbers_print_in_hexadecimal() {
    let number = HypercallNumber::user(1);
    assert_eq!(number.to_string(), "0x48438001");
    assert_eq!(format!("{number:?}"), "HypercallNumber(0x48438001)");
}
