// SPDX-License-Identifier: MIT OR Apache-2.0
//! The document's test vectors and worked example, computed anew from the crate.

use crate::document::{code_spans, Document};
use crate::literal::{bytes, integer, register, word};
use crate::reference_host::{answer, ADVERTISEMENT};
use crate::structures::{structures, Assignments};
use hcall_abi::carrier::CarrierRegisters;
use hcall_abi::cpuid::{Advertisement, CpuidRegisters, BASE_STEP, FIRST_BASE};
use hcall_abi::{
    decode_result, decode_result_unprivileged, encode_result, encode_result_32, CallError, Errno,
    HypercallNumber, NumberError, Transport, TransportSet,
};
use std::collections::BTreeSet;

pub(crate) const NUMBERS: &[&str] = &["test number", "verdict"];
pub(crate) const ENCODED: &[&str] = &["decision", "rax after"];
pub(crate) const ENCODED_32: &[&str] = &["decision", "eax after"];
pub(crate) const DECODED: &[&str] = &["rax", "at CPL 0", "at CPL > 0"];
pub(crate) const DECODED_32: &[&str] = &["eax", "meaning"];
pub(crate) const CALLS: &[&str] = &["call rax", "rbx", "rcx", "rdx", "rsi", "CPL", "rax after"];
pub(crate) const CARRIED: &[&str] = &[
    "carrier rax",
    "rbx",
    "rcx",
    "rdx",
    "rsi",
    "rdi",
    "r8",
    "r9",
    "rax after",
];
pub(crate) const CHOICES: &[&str] = &["offered", "preferred", "usable", "chosen"];
pub(crate) const STRUCTURES: &[&str] = &["structure", "fields", "bytes"];
const LEAVES: &[&str] = &["leaf", "eax", "ebx", "ecx", "edx"];

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn numbers() {
    for row in Document::read().rows(NUMBERS) {
        let verdict = match HypercallNumber::new(word(row.code(0))) {
            Ok(_) => "usable",
            Err(NumberError::Kvm(_)) => "KVM",
            Err(NumberError::Xen(_)) => "Xen",
            Err(NumberError::HyperV(_)) => "Hyper-V",
            Err(other) => panic!("no word for {other:?}"),
        };
        assert_eq!(row.cell(1), verdict, "{}", row.place());
    }
}

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn encoded_results() {
    for row in Document::read().rows(ENCODED) {
        let rax = encode_result(decision(row.cell(0), &row.place()));
        assert_eq!(rax as u64, register(row.code(1)), "{}", row.place());
    }
    for row in Document::read().rows(ENCODED_32) {
        let eax = encode_result_32(decision(row.cell(0), &row.place()));
        assert_eq!(eax as u32, word(row.code(1)), "{}", row.place());
    }
}

/// "payload `1`" or "errno `1`".
fn decision(words: &str, place: &str) -> Result<u64, Errno> {
    let value = register(code_spans(words)[0]);
    match words.split_once(' ') {
        Some(("payload", _)) => Ok(value),
        Some(("errno", _)) => Err(Errno::new(value as u16).expect("an errno")),
        _ => panic!("{place}: {words:?} is no decision"),
    }
}

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn decoded_results() {
    for row in Document::read().rows(DECODED) {
        let rax = register(row.code(0)) as i64;
        assert_meaning(row.cell(1), decode_result(rax), &row.place());
        assert_meaning(row.cell(2), decode_result_unprivileged(rax), &row.place());
    }
    for row in Document::read().rows(DECODED_32) {
        let eax = word(row.code(0)) as i32;
        assert_meaning(row.cell(1), decode_result(eax.into()), &row.place());
    }
}

/// Compares a decoded result with the words for it: "payload `42`", "errno `1`", "not
/// hcall", "malformed".
fn assert_meaning(words: &str, decoded: Result<u64, CallError>, place: &str) {
    let value = || register(code_spans(words)[0]);
    let matches = match decoded {
        Ok(payload) => words.starts_with("payload ") && value() == payload,
        Err(CallError::Errno(errno)) => {
            words.starts_with("errno ") && value() == errno.get().into()
        }
        Err(CallError::NotHcall) => words == "not hcall",
        Err(CallError::Malformed(_)) => words == "malformed",
        Err(other) => panic!("no words for {other:?}"),
    };
    assert!(
        matches,
        "{place}: {words:?}, but the crate says {decoded:?}"
    );
}

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn calls() {
    for row in Document::read().rows(CALLS) {
        let arguments = [1, 2, 3, 4].map(|column| register(row.code(column)));
        let cpl = word(row.code(5)) as u8;
        let rax = answer(register(row.code(0)), arguments, cpl) as u64;
        let expected = register(row.code(6));
        assert_eq!(
            rax,
            expected,
            "{}: {rax:#x}, not {expected:#x}",
            row.place()
        );
    }
}

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn carried_calls() {
    for row in Document::read().rows(CARRIED) {
        let [rax, rbx, rcx, rdx] = [0, 1, 2, 3].map(|column| register(row.code(column)));
        let arguments = [4, 5, 6, 7].map(|column| register(row.code(column)));
        let registers = CarrierRegisters { rax, rbx, rcx, rdx };
        let Some(number) = registers.number() else {
            assert_eq!(row.cell(8), "not a call", "{}", row.place());
            continue;
        };
        assert_eq!(CarrierRegisters::carrying(number), registers);
        let rax = answer(number.into(), arguments, 0) as u64;
        let expected = register(row.code(8));
        assert_eq!(
            rax,
            expected,
            "{}: {rax:#x}, not {expected:#x}",
            row.place()
        );
    }
}

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn choices_of_a_transport() {
    for row in Document::read().rows(CHOICES) {
        let advertisement = Advertisement {
            transports: TransportSet::from_bits(word(row.code(0))),
            preferred: Transport::from_raw(word(row.code(1))),
            ..ADVERTISEMENT
        };
        let usable = TransportSet::from_bits(word(row.code(2)));
        let chosen = match advertisement.select(usable) {
            Some(transport) => transport.name(),
            None => "none",
        };
        assert_eq!(row.cell(3).to_lowercase(), chosen, "{}", row.place());
    }
}

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn worked_example_of_discovery() {
    const BASE: u32 = FIRST_BASE + BASE_STEP;
    let document = Document::read();
    let [_, example] = document.tables(LEAVES)[..] else {
        panic!("two tables of leaves: what they hold, and the example");
    };
    let documented: Vec<(u32, CpuidRegisters)> = example
        .rows
        .iter()
        .map(|row| {
            let [leaf, eax, ebx, ecx, edx] = [0, 1, 2, 3, 4].map(|column| word(row.code(column)));
            (leaf, CpuidRegisters { eax, ebx, ecx, edx })
        })
        .collect();
    let expected: Vec<_> = (BASE..).zip(ADVERTISEMENT.leaves(BASE)).collect();
    assert_eq!(documented, expected);
}

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn bytes_of_structures() {
    let structures = structures();
    let mut seen = BTreeSet::new();
    for row in Document::read().rows(STRUCTURES) {
        let name = row.code(0).to_owned();
        let structure = structures
            .iter()
            .find(|structure| structure.name == name)
            .unwrap_or_else(|| panic!("{}: no structure {name}", row.place()));
        let assignments: Assignments = row.codes(1).into_iter().map(assignment).collect();
        for field in assignments.keys() {
            assert!(
                structure.fields.iter().any(|known| known.name == *field),
                "{}: {name} has no field {field}",
                row.place()
            );
        }
        assert_eq!(
            bytes(row.code(2)),
            (structure.bytes)(&assignments),
            "{}: {name}",
            row.place()
        );
        seen.insert(name);
    }
    assert_eq!(seen.len(), structures.len(), "every structure has a vector");
}

/// `field = 1`, or `field = 1 2 3` for an array.
fn assignment(text: &str) -> (String, Vec<i128>) {
    let (field, values) = text.split_once(" = ").expect("field = value");
    (field.to_owned(), values.split(' ').map(integer).collect())
}
