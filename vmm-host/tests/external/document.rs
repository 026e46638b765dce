// SPDX-License-Identifier: MIT OR Apache-2.0
//! `docs/handler-protocol.md` says what the crate does: each structure's offsets and sizes,
//! each constant, each error.

use hcall_vmm::extend::external::protocol::{
    AnswerHead, FrameKind, Header, Hello, RangeBytes, RequestHead, WelcomeHead, BODY_BYTES_MAX,
    FIXED_LENGTH, MAGIC, RANGES_MAX, RANGE_BYTES_MAX, UNKNOWN, VERSION,
};
use std::collections::BTreeSet;
use std::mem::offset_of;

const DOCUMENT: &str = include_str!("../../../docs/handler-protocol.md");
const SOURCE: &str = include_str!("../../src/extend/external/protocol/mod.rs");

/// The cells of the rows of each table with this header, without code marks, and the heading
/// above it.
fn tables(header: &str) -> Vec<(String, Vec<Vec<String>>)> {
    let mut heading = "";
    let mut tables = Vec::new();
    let mut lines = DOCUMENT.lines();
    while let Some(line) = lines.next() {
        if line.starts_with('#') {
            heading = line.trim_start_matches('#').trim();
        }
        if line != header {
            continue;
        }
        let rows = lines
            .by_ref()
            .skip(1)
            .take_while(|line| line.starts_with('|'))
            .map(cells)
            .collect();
        tables.push((heading.to_owned(), rows));
    }
    assert!(!tables.is_empty(), "no table {header}");
    tables
}

fn cells(row: &str) -> Vec<String> {
    let cells = row.trim_matches('|').split('|');
    cells.map(|cell| cell.trim().replace('`', "")).collect()
}

/// Offset, size and name of each field, one after the other.
type Layout = Vec<(usize, usize, &'static str)>;

macro_rules! layout {
    ($structure:ty: $($field:ident),+) => {{
        let mut ends = vec![$(offset_of!($structure, $field)),+];
        ends.push(size_of::<$structure>());
        let names = [$(stringify!($field)),+];
        let fields = ends.windows(2).zip(names);
        fields.map(|(ends, name)| (ends[0], ends[1] - ends[0], name)).collect::<Layout>()
    }};
}

#[test]
fn offsets_and_sizes() {
    let expected = [
        ("Header", layout!(Header: magic, kind, id, length, reserved)),
        (
            "HELLO",
            layout!(Hello: version, number, ranges_max, range_bytes_max),
        ),
        ("WELCOME", layout!(WelcomeHead: version, ranges)),
        (
            "A range",
            layout!(RangeBytes: address, length, direction, reserved, bytes),
        ),
        (
            "REQUEST",
            layout!(RequestHead: number, vcpu, cpl, reserved, arguments, lengths),
        ),
        ("ANSWER", layout!(AnswerHead: result, lengths)),
    ];
    let tables = tables("| offset | bytes | field | holds |");
    assert_eq!(tables.len(), expected.len());
    for ((heading, rows), (title, layout)) in tables.iter().zip(expected) {
        assert!(
            heading.ends_with(title),
            "'{heading}' where '{title}' is expected"
        );
        let said: Vec<(usize, usize, &str)> = rows
            .iter()
            .map(|row| {
                let number = |cell: &str| cell.parse().expect("a number");
                (number(&row[0]), number(&row[1]), row[2].as_str())
            })
            .collect();
        assert_eq!(said, layout, "{title}");
    }
}

#[test]
fn constants() {
    let expected = [
        ("VERSION", u64::from(VERSION)),
        ("RANGES_MAX", RANGES_MAX as u64),
        ("RANGE_BYTES_MAX", RANGE_BYTES_MAX.into()),
        ("BODY_BYTES_MAX", BODY_BYTES_MAX as u64),
        ("FIXED_LENGTH", FIXED_LENGTH.into()),
        ("UNKNOWN", UNKNOWN.into()),
        ("MAGIC", u32::from_le_bytes(MAGIC).into()),
    ];
    let tables = tables("| constant | value | is |");
    let said: Vec<(&str, u64)> = tables
        .iter()
        .flat_map(|(_, rows)| rows)
        .map(|row| (row[0].as_str(), number(&row[1])))
        .collect();
    let sorted = |mut pairs: Vec<(&'static str, u64)>| {
        pairs.sort();
        pairs
    };
    let said: BTreeSet<(&str, u64)> = said.into_iter().collect();
    let expected: BTreeSet<(&str, u64)> = sorted(expected.to_vec()).into_iter().collect();
    assert_eq!(said, expected);
}

fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).expect("hex"),
        None => text.parse().expect("a number"),
    }
}

#[test]
fn types() {
    let tables = tables("| type | frame | from | is |");
    let said: Vec<(u64, &str)> = tables
        .iter()
        .flat_map(|(_, rows)| rows)
        .map(|row| (number(&row[0]), row[1].as_str()))
        .collect();
    let names = FrameKind::ALL.map(|kind| kind.to_string());
    let known = FrameKind::ALL.iter().zip(&names);
    let known: Vec<(u64, &str)> = known
        .map(|(kind, name)| (*kind as u64, name.as_str()))
        .collect();
    assert_eq!(said, known);
}

/// The names of the errors that the crate tells, from its source.
pub(crate) fn errors() -> BTreeSet<String> {
    let (_, rest) = SOURCE
        .split_once("pub enum ProtocolError {")
        .expect("the errors");
    let (variants, _) = rest.split_once("\n}").expect("their end");
    variants
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()))
        .map(|line| {
            let end = line.find(|character: char| !character.is_alphanumeric());
            line[..end.unwrap_or(line.len())].to_owned()
        })
        .collect()
}

#[test]
fn every_error() {
    let tables = tables("| error | the frame | |").into_iter();
    let said: BTreeSet<String> = tables
        .flat_map(|(_, rows)| rows)
        .map(|row| row[0].clone())
        .collect();
    assert_eq!(said, errors());
    assert!(said.len() >= 13);
}
