// SPDX-License-Identifier: MIT OR Apache-2.0
//! Values that stand in the document outside checked tables: in sentences, in words in
//! tables, in pseudo-code. They repeat what tables say, and must not come to say
//! something else.

use crate::constants::constants;
use crate::document::Document;
use crate::literal::{integer, Value};
use crate::reference_host::ADVERTISEMENT;
use hcall_abi::cpuid::{Advertisement, BASE_STEP, FIRST_BASE};
use hcall_abi::number::CORE_FIRST;
use hcall_abi::result::KVM_ENOSYS_RESULT;
use hcall_abi::transport::PORT;
use hcall_abi::{Errno, ABI_VERSION};
use std::collections::BTreeSet;

/// The comparison with other conventions, whose numbers are not ours.
const COMPARISON: &str = "15";

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn hexadecimal_numbers_are_the_crates() {
    let known = known_numbers();
    let mut found = 0;
    for line in Document::read().lines {
        if line.section == COMPARISON || line.is_row() {
            continue;
        }
        for number in words(&line.text).filter(|word| word.len() > 2 && word.starts_with("0x")) {
            found += 1;
            assert!(
                known.contains(&integer(number)),
                "docs/abi.md:{}: {number} is no value of the crate",
                line.number
            );
        }
    }
    assert!(
        found > 0,
        "the text names no number at all: the scan is broken"
    );
}

fn known_numbers() -> BTreeSet<i128> {
    let without_preference = Advertisement {
        preferred: None,
        ..ADVERTISEMENT
    };
    let [_, _, transports, _] = without_preference.leaves(FIRST_BASE);
    let mut known = BTreeSet::from([
        transports.ebx.into(),
        (FIRST_BASE + BASE_STEP).into(),
        (CORE_FIRST >> 16).into(),
    ]);
    for (_, value) in constants() {
        if let Value::Integer(value) = value {
            known.insert(value);
        }
    }
    known
}

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn results_that_are_no_payload_are_the_crates() {
    let known = [
        KVM_ENOSYS_RESULT,
        -i64::from(Errno::MAX),
        -i64::from(Errno::MAX) - 1,
    ];
    for line in Document::read().lines {
        let text = line.text.replace('−', "-");
        let negative = words(&text).filter(|word| {
            word.strip_prefix('-').is_some_and(|digits| {
                digits.len() > 2 && digits.bytes().all(|byte| byte.is_ascii_digit())
            })
        });
        for number in negative {
            assert!(
                known.contains(&number.parse().expect("digits")),
                "docs/abi.md:{}: {number} is no special result of the crate",
                line.number
            );
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn the_bytes_of_the_port_instruction_hold_the_port() {
    let document = Document::read();
    let instruction = format!("`out imm8, eax`: bytes `e7 {PORT:02x}`");
    assert!(
        document
            .lines
            .iter()
            .any(|line| line.text.contains(&instruction)),
        "the document should say {instruction}"
    );
}

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn the_title_names_the_version() {
    let title = format!("# The hcall ABI, version {ABI_VERSION}");
    assert!(
        Document::read().lines.iter().any(|line| line.text == title),
        "no title {title:?}"
    );
}

/// Every errno that the text names exists.
#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn errno_names_are_the_crates() {
    let names: BTreeSet<&str> = (1..=Errno::MAX)
        .filter_map(Errno::new)
        .filter_map(Errno::name)
        .collect();
    for line in Document::read().lines {
        for name in words(&line.text).filter_map(|word| word.strip_prefix(['−', '-'])) {
            assert!(
                !name.starts_with('E') || names.contains(name),
                "docs/abi.md:{}: {name} is no errno of the crate",
                line.number
            );
        }
    }
}

/// The words of a line: runs of letters, digits, underscores and minus signs.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '−')))
}
