// SPDX-License-Identifier: MIT OR Apache-2.0
//! The normative tables of the document.

use crate::constants::constants;
use crate::document::{code_spans, Document, Row};
use crate::literal::{bytes, integer, quoted, word, Value};
use crate::source;
use crate::structures::{structures, Field};
use hcall_abi::carrier::{self, CarrierRegisters};
use hcall_abi::convention::{TrapInstruction, ARGUMENT_COUNT};
use hcall_abi::cpuid::{Advertisement, Features, Limits, SIGNATURE};
use hcall_abi::layout::Clock;
use hcall_abi::number::{self, CORE_CALLS};
use hcall_abi::{ioctl, AbiVersion, Errno, HypercallNumber, Transport, TransportSet};
use std::collections::{BTreeMap, BTreeSet};

const CONSTANTS: &[&str] = &["constant", "value", "meaning"];
const CORE: &[&str] = &["number", "call", "arguments", "payload"];
const CORE_CALL: &[&str] = &["", ""];
const FIELDS: &[&str] = &["offset", "size", "field", "meaning"];
const REQUESTS: &[&str] = &["request", "number", "direction", "structure", "size"];
const TRANSPORTS: &[&str] = &[
    "transport",
    "discriminant",
    "bit in sets",
    "the guest executes",
];
const FEATURES: &[&str] = &["feature", "bit", "meaning"];
const CLOCKS: &[&str] = &["clock", "value", "meaning"];
const VENDORS: &[&str] = &["vendor", "instruction", "bytes"];
const ERRNOS: &[&str] = &["name", "value", "meaning"];
const LEAVES: &[&str] = &["leaf", "eax", "ebx", "ecx", "edx"];
const REGISTERS: &[&str] = &["register", "before the call", "after the call"];
const CARRIER: &[&str] = &["carrier register", "before the call", "after the call"];
const IOCTL_ERRORS: &[&str] = &["ioctl error", "when"];

/// The tables of `vectors`.
const VECTORS: &[&[&str]] = &[
    crate::vectors::NUMBERS,
    crate::vectors::ENCODED,
    crate::vectors::ENCODED_32,
    crate::vectors::DECODED,
    crate::vectors::DECODED_32,
    crate::vectors::CALLS,
    crate::vectors::CARRIED,
    crate::vectors::CHOICES,
    crate::vectors::STRUCTURES,
];

/// Tables that hold words only, or facts about others.
const UNCHECKED: &[&str] = &[
    "word",
    "value",
    "numbers",
    "rule",
    "32-bit register",
    "Palacios call",
];

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn every_table_is_checked_or_known_not_to_be() {
    let checked = [
        CONSTANTS,
        CORE,
        CORE_CALL,
        FIELDS,
        REQUESTS,
        TRANSPORTS,
        FEATURES,
        CLOCKS,
        VENDORS,
        ERRNOS,
        LEAVES,
        REGISTERS,
        CARRIER,
        IOCTL_ERRORS,
    ];
    for table in Document::read().tables {
        let is_checked = checked
            .iter()
            .chain(VECTORS)
            .any(|header| table.header == *header);
        let is_comparison = table.heading == "15 Comparison";
        assert!(
            is_checked || is_comparison || UNCHECKED.contains(&table.header[0].as_str()),
            "section {:?} has a table {:?} that no test knows",
            table.heading,
            table.header
        );
        assert!(
            !table.rows.is_empty(),
            "{:?} has an empty table",
            table.heading
        );
    }
}

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn constants_are_the_crates() {
    let document = Document::read();
    let mut expected: BTreeMap<String, Value> = constants().into_iter().collect();
    for row in document.rows(CONSTANTS) {
        let path = row.code(0);
        let value = expected.remove(path).unwrap_or_else(|| {
            panic!("{}: {path} is not in the crate, or twice here", row.place())
        });
        assert_eq!(Value::parse(row.code(1)), value, "{}: {path}", row.place());
    }
    assert!(expected.is_empty(), "not in the document: {expected:?}");
}

#[test]
#[cfg_attr(miri, ignore = "reads the source, and Miri has no files")]
fn every_public_constant_is_in_some_table() {
    // Collections, and the empty ones, of what tables hold.
    let mut covered: BTreeSet<String> = [
        "number::CORE_CALLS",
        "Transport::ALL",
        "Features::EMPTY",
        "TransportSet::EMPTY",
        "AllowList::EVERYTHING",
    ]
    .map(str::to_owned)
    .into();
    covered.extend(constants().into_iter().map(|(path, _)| path));
    covered.extend(CORE_CALLS.map(|(_, name)| format!("number::{name}")));
    covered.extend(
        features()
            .into_keys()
            .map(|name| format!("Features::{name}")),
    );
    covered.extend(requests().into_keys().map(|name| format!("ioctl::{name}")));

    let public = source::public_constants();
    let missing: Vec<_> = public.difference(&covered).collect();
    assert!(
        missing.is_empty(),
        "public in the crate, but neither compared nor in docs/abi.md: {missing:?}"
    );
    let gone: Vec<_> = covered.difference(&public).collect();
    assert!(
        gone.is_empty(),
        "compared, but not found in the source: {gone:?}"
    );
}

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn core_calls_are_the_crates() {
    let document = Document::read();
    let listed: Vec<(u32, String)> = document
        .rows(CORE)
        .into_iter()
        .map(|row| (word(row.code(0)), row.code(1).to_owned()))
        .collect();
    let expected = CORE_CALLS.map(|(number, name)| (number.get(), name.to_owned()));
    assert_eq!(listed, expected);
}

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn each_core_call_is_described_as_the_crate_has_it() {
    let document = Document::read();
    let tables = document.tables(CORE_CALL);
    assert_eq!(
        tables.len(),
        CORE_CALLS.len(),
        "one section for each core call"
    );
    for (table, (number, name)) in tables.into_iter().zip(CORE_CALLS) {
        assert_eq!(code_spans(&table.heading), [name]);
        let keys: Vec<&str> = table.rows.iter().map(|row| row.cell(0)).collect();
        assert_eq!(
            keys,
            ["number", "arguments", "result", "errors", "who", "memory"]
        );
        let [number_row, arguments, _, errors, _, memory] = &table.rows[..] else {
            unreachable!("the keys have been compared");
        };
        assert_eq!(
            word(number_row.code(1)),
            number.get(),
            "{}",
            number_row.place()
        );
        assert_eq!(
            gpa_index(arguments),
            number.gpa_index(),
            "{}",
            arguments.place()
        );
        assert_eq!(
            memory.cell(1) != "none",
            number.takes_gpa(),
            "{}: memory is touched exactly where an argument is a GPA",
            memory.place()
        );
        assert_errnos_exist(errors, 1);
    }
}

/// Which of the arguments, written `rbx: …, rcx: …`, is the GPA.
fn gpa_index(row: &Row) -> Option<usize> {
    const IN_ORDER: [&str; ARGUMENT_COUNT] = ["rbx", "rcx", "rdx", "rsi"];
    let registers: Vec<(&str, &str)> = row
        .cell(1)
        .split(", ")
        .filter_map(|argument| argument.split_once(": "))
        .collect();
    for (argument, register) in registers.iter().zip(IN_ORDER) {
        assert_eq!(argument.0, register, "{}: registers in order", row.place());
    }
    registers
        .iter()
        .position(|(_, meaning)| meaning.starts_with("GPA"))
}

fn assert_errnos_exist(row: &Row, column: usize) {
    let words = row.cell(column).split(|c: char| !c.is_ascii_alphanumeric());
    for name in words.filter(|word| word.len() > 2 && word.starts_with('E')) {
        assert!(
            errnos().values().any(|known| *known == name),
            "{}: {name} is no errno of the crate",
            row.place()
        );
    }
}

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn structures_are_the_crates() {
    let document = Document::read();
    let tables = document.tables(FIELDS);
    let structures = structures();
    assert_eq!(
        tables.len(),
        structures.len(),
        "one table for each structure"
    );
    for (table, structure) in tables.into_iter().zip(structures) {
        assert_eq!(code_spans(&table.heading), [structure.name]);
        assert!(
            table
                .heading
                .ends_with(&format!(": {} bytes", structure.size)),
            "{:?} should say {} bytes",
            table.heading,
            structure.size
        );
        let documented: Vec<Field> = table
            .rows
            .iter()
            .map(|row| Field {
                name: row.code(2).to_owned(),
                offset: integer(row.code(0)) as usize,
                size: integer(row.code(1)) as usize,
            })
            .collect();
        assert_eq!(documented, structure.fields, "{}", structure.name);
        let end = structure
            .fields
            .iter()
            .map(|field| field.size)
            .sum::<usize>();
        assert_eq!(end, structure.size, "{} has padding", structure.name);
    }
}

#[test]
#[cfg_attr(miri, ignore = "reads the source, and Miri has no files")]
fn every_structure_and_field_is_compared() {
    let compared: BTreeMap<String, Vec<String>> = structures()
        .into_iter()
        .map(|structure| {
            let fields = structure.fields.into_iter().map(|field| field.name);
            (structure.name.to_owned(), fields.collect())
        })
        .collect();
    assert_eq!(
        source::structures().into_iter().collect::<BTreeMap<_, _>>(),
        compared
    );
}

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn requests_are_the_crates() {
    let document = Document::read();
    let sizes: BTreeMap<&str, usize> = structures()
        .into_iter()
        .map(|structure| (structure.name, structure.size))
        .collect();
    let mut expected = requests();
    for row in document.rows(REQUESTS) {
        let number = expected
            .remove(row.code(0))
            .expect("a request of the crate");
        assert_eq!(word(row.code(1)), number, "{}", row.place());
        let direction = match number >> 30 {
            1 => "write",
            2 => "read",
            3 => "read and write",
            other => panic!("no request has direction {other}"),
        };
        assert_eq!(row.cell(2), direction, "{}", row.place());
        assert_eq!(
            word(row.code(4)),
            (number >> 16) & 0x3fff,
            "{}",
            row.place()
        );
        assert_eq!(
            integer(row.code(4)) as usize,
            sizes[row.code(3)],
            "{}",
            row.place()
        );
    }
    assert!(expected.is_empty(), "not in the document: {expected:?}");
}

fn requests() -> BTreeMap<&'static str, u32> {
    BTreeMap::from([
        ("INFO", ioctl::INFO),
        ("CALL", ioctl::CALL),
        ("CALL_BUFFER", ioctl::CALL_BUFFER),
        ("BATCH", ioctl::BATCH),
        ("RESTRICT", ioctl::RESTRICT),
    ])
}

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn transports_are_the_crates_in_order_of_preference() {
    let document = Document::read();
    let documented: Vec<(String, u32, u32)> = document
        .rows(TRANSPORTS)
        .into_iter()
        .map(|row| {
            (
                row.code(0).to_lowercase(),
                word(row.code(1)),
                word(row.code(2)),
            )
        })
        .collect();
    let expected = Transport::ALL.map(|transport| {
        let bit = TransportSet::EMPTY.with(transport).bits();
        (transport.name().to_owned(), transport.raw(), bit)
    });
    assert_eq!(documented, expected);
    let known = (0..=u32::from(u8::MAX)).filter_map(Transport::from_raw);
    assert_eq!(known.collect::<Vec<_>>(), Transport::ALL);
}

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn features_are_the_crates() {
    let document = Document::read();
    let documented: BTreeMap<&str, u32> = document
        .rows(FEATURES)
        .into_iter()
        .map(|row| (row.code(0), 1 << word(row.code(1))))
        .collect();
    assert_eq!(documented, features());
}

fn features() -> BTreeMap<&'static str, u32> {
    BTreeMap::from([
        ("CORE_CALLS", Features::CORE_CALLS.bits()),
        ("BATCH", Features::BATCH.bits()),
        ("RING", Features::RING.bits()),
    ])
}

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn clocks_are_the_crates() {
    let document = Document::read();
    let documented: Vec<(String, u64)> = document
        .rows(CLOCKS)
        .into_iter()
        .map(|row| (row.code(0).to_owned(), integer(row.code(1)) as u64))
        .collect();
    let known: Vec<(String, u64)> = (0..=u64::from(u8::MAX))
        .filter_map(Clock::from_raw)
        .map(|clock| (format!("{clock:?}"), clock.raw()))
        .collect();
    assert_eq!(documented, known);
}

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn vendors_are_the_crates() {
    let document = Document::read();
    let mut documented = BTreeSet::new();
    for row in document.rows(VENDORS) {
        let vendor = quoted(row.code(0));
        let twelve = <[u8; 12]>::try_from(&vendor[..]).expect("vendors have 12 bytes");
        let instruction = TrapInstruction::for_vendor(twelve)
            .unwrap_or_else(|| panic!("{}: no vendor of the crate", row.place()));
        assert_eq!(row.cell(1), instruction.name(), "{}", row.place());
        assert_eq!(bytes(row.code(2)), instruction.bytes(), "{}", row.place());
        documented.insert(vendor);
    }
    assert_eq!(documented, source::vendors());
}

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn errnos_are_the_crates() {
    let document = Document::read();
    let documented: BTreeMap<u16, &str> = document
        .rows(ERRNOS)
        .into_iter()
        .map(|row| (integer(row.code(1)) as u16, row.code(0)))
        .collect();
    assert_eq!(documented, errnos());
    assert_eq!(
        documented.len(),
        document.rows(ERRNOS).len(),
        "no value twice"
    );
    for row in document.rows(ERRNOS) {
        let errno = Errno::new(integer(row.code(1)) as u16).expect("in range");
        assert_eq!(row.cell(2), errno.meaning(), "{}", row.place());
    }
    for row in document.rows(IOCTL_ERRORS) {
        assert_errnos_exist(row, 0);
    }
}

/// The values that have names.
fn errnos() -> BTreeMap<u16, &'static str> {
    (1..=Errno::MAX)
        .filter_map(Errno::new)
        .filter_map(|errno| Some((errno.get(), errno.name()?)))
        .collect()
}

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn argument_registers_are_as_many_as_the_crates() {
    let document = Document::read();
    let arguments: Vec<&str> = document
        .rows(REGISTERS)
        .into_iter()
        .map(|row| row.cell(1))
        .filter(|meaning| meaning.starts_with("argument "))
        .collect();
    let expected: Vec<String> = (0..ARGUMENT_COUNT)
        .map(|n| format!("argument {n}"))
        .collect();
    assert_eq!(arguments, expected);
}

#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn carrier_registers_are_the_crates() {
    const NUMBER: u32 = 0x1234_5678;
    let carried = CarrierRegisters::carrying(NUMBER);
    let before: BTreeMap<String, String> = Document::read()
        .rows(CARRIER)
        .into_iter()
        .map(|row| (row.cell(0).to_owned(), row.cell(1).to_owned()))
        .collect();
    for (name, register, meaning, value) in [
        ("rax", carried.rax, "`carrier::NUMBER`", carrier::NUMBER),
        ("rbx", carried.rbx, "`carrier::GPA`", carrier::GPA),
        ("rcx", carried.rcx, "`carrier::PAGES`", carrier::PAGES),
        (
            "rdx",
            carried.rdx,
            "bits 0–31: the number; bits 32–63: `carrier::MAGIC`",
            u64::from(NUMBER) | (u64::from(carrier::MAGIC) << 32),
        ),
    ] {
        assert_eq!(before[name], meaning);
        assert_eq!(register, value, "{name}");
    }
    for (index, name) in ["rsi", "rdi", "r8", "r9"].into_iter().enumerate() {
        assert_eq!(before[name], format!("argument {index}"));
    }
}

/// The table of what each register of each leaf means, against a block in which every
/// value is another.
#[test]
#[cfg_attr(miri, ignore = "reads the document, and Miri has no files")]
fn leaves_hold_what_the_document_says() {
    const BASE: u32 = 0x4000_0300;
    let advertisement = Advertisement {
        abi_version: AbiVersion::new(0x101),
        features: Features::from_bits(0x102),
        transports: TransportSet::from_bits(0x103),
        preferred: Some(Transport::Port),
        limits: Limits {
            batch_entries: 0x105,
            ring_entries: 0x106,
            buffer_bytes: 0x107,
        },
    };
    let signature_word = |at: usize| u32::from_le_bytes(SIGNATURE[at..at + 4].try_into().unwrap());
    let meanings = BTreeMap::from([
        ("highest leaf of the block", BASE + 3),
        ("signature, bytes 0–3", signature_word(0)),
        ("signature, bytes 4–7", signature_word(4)),
        ("signature, bytes 8–11", signature_word(8)),
        ("ABI version", 0x101),
        ("features", 0x102),
        ("transports offered, a set", 0x103),
        ("transport preferred, a discriminant", Transport::Port.raw()),
        ("largest batch, entries", 0x105),
        ("largest ring, entries", 0x106),
        ("largest buffer, bytes", 0x107),
        ("reserved", 0),
    ]);
    let document = Document::read();
    let table = document.tables(LEAVES)[0];
    let leaves = advertisement.leaves(BASE);
    assert_eq!(table.rows.len(), leaves.len());
    for (offset, (row, leaf)) in table.rows.iter().zip(leaves).enumerate() {
        assert_eq!(row.cell(0), format!("base + {offset}"), "{}", row.place());
        let registers = [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx];
        for (column, register) in (1..).zip(registers) {
            assert_eq!(meanings[row.cell(column)], register, "{}", row.place());
        }
    }
}

/// The core calls whose memory a kernel cannot fill in as one buffer, though they take a GPA.
#[test]
fn batches_and_rings_are_no_buffers() {
    let others = CORE_CALLS
        .into_iter()
        .map(|(number, _)| number)
        .filter(|number| number.takes_gpa() && number.gpa_index().is_none());
    assert_eq!(
        others.collect::<Vec<HypercallNumber>>(),
        [number::BATCH, number::RING_SETUP]
    );
}
