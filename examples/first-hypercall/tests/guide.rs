// SPDX-License-Identifier: MIT OR Apache-2.0
//! `docs/guide.md` and `docs/unikernels.md` show what is built and run: their listings are
//! pieces of the examples, and the Python agrees with the ABI. `docs/internals.md` names files
//! that exist, `docs/security.md` tests that exist.

use hcall_guest::abi::ioctl::{Call, CALL};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents() -> String {
    ["docs/guide.md", "docs/unikernels.md"]
        .map(|name| read(&repository().join(name)))
        .concat()
}

/// What follows each comment `<!-- KIND: NAME -->`: the name, and the text of the fenced block.
fn listings(kind: &str) -> Vec<(String, String)> {
    let mark = format!("<!-- {kind}: ");
    documents()
        .split(&mark)
        .skip(1)
        .map(|rest| {
            let (name, rest) = rest.split_once(" -->\n```").expect("a block follows");
            let (_language, rest) = rest.split_once('\n').expect("a block has lines");
            let (text, _) = rest.split_once("```").expect("the block ends");
            (name.to_owned(), text.to_owned())
        })
        .collect()
}

#[test]
fn listings_are_pieces_of_the_examples() {
    let listings = listings("listing");
    assert_eq!(listings.len(), 10);
    for (name, text) in listings {
        let file = read(&repository().join(&name));
        assert!(file.contains(&text), "{name} does not hold\n{text}");
    }
}

#[test]
fn every_block_of_code_is_compared() {
    let guide = documents();
    for language in ["```rust", "```c\n", "```python"] {
        for (place, _) in guide.match_indices(language) {
            assert!(
                guide[..place].ends_with(" -->\n"),
                "a block at byte {place} has no comment that names its source"
            );
        }
    }
}

/// Bytes of a structure in the format of Python's `struct`, with `=`: no padding.
fn python_size(format: &str) -> usize {
    let mut count = None;
    let mut bytes = 0;
    for character in format.strip_prefix('=').expect("without padding").chars() {
        match character {
            '0'..='9' => count = character.to_digit(10),
            'I' => bytes += 4 * count.take().unwrap_or(1) as usize,
            'Q' | 'q' => bytes += 8 * count.take().unwrap_or(1) as usize,
            other => panic!("format {other} is not known here"),
        }
    }
    bytes
}

#[test]
fn python_agrees_with_the_abi() {
    let [(_, text)] = &listings("python")[..] else {
        panic!("one listing in Python");
    };
    assert!(text.contains(&format!("CALL = 0x{CALL:X}\n")), "{text}");
    let formats: Vec<&str> = text
        .split('"')
        .filter(|word| word.starts_with('='))
        .collect();
    assert_eq!(formats, ["=II4Qq"; 2]);
    assert_eq!(python_size(formats[0]), size_of::<Call>());
}

#[test]
fn internals_names_files_that_exist() {
    let root = repository();
    let internals = read(&root.join("docs/internals.md"));
    let files: Vec<&str> = internals
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|quoted| quoted.contains('/') && quoted.contains('.'))
        .collect();
    assert!(files.len() > 30, "{files:?}");
    for file in files {
        assert!(root.join(file).is_file(), "there is no {file}");
    }
}

/// The rows of the tables of faults in `docs/security.md`: situation, what happens, tests.
fn faults(security: &str) -> Vec<[&str; 3]> {
    let (_, tables) = security
        .split_once("### What can go wrong on the host\n")
        .expect("the section of faults");
    let tables = tables.split("\n## ").next().expect("a section has an end");
    tables
        .lines()
        .filter(|line| line.starts_with("| ") && !line.ends_with("| test |"))
        .map(|line| {
            let row = line.trim_matches('|').split(" | ").map(str::trim);
            let row: Vec<&str> = row.collect();
            row.try_into()
                .unwrap_or_else(|row| panic!("three columns: {row:?}"))
        })
        .collect()
}

#[test]
fn every_fault_has_a_test_that_exists() {
    let root = repository();
    let security = read(&root.join("docs/security.md"));
    let faults = faults(&security);
    assert!(faults.len() >= 40, "{} faults", faults.len());
    let situations: BTreeSet<&str> = faults.iter().map(|[situation, ..]| *situation).collect();
    assert_eq!(situations.len(), faults.len(), "each situation once");
    for [situation, outcome, tests] in faults {
        assert!(!outcome.is_empty(), "{situation}");
        let words: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!words.is_empty(), "no test shows: {situation}");
        for test in words.chunks(2) {
            let [file, name] = test else {
                panic!("a file and a function: {test:?}");
            };
            let text = read(&root.join(file));
            let function = ["(", "<"].map(|end| format!("fn {name}{end}"));
            let exists = function.iter().any(|start| text.contains(start));
            assert!(exists, "{file} has no {name}");
        }
    }
}
