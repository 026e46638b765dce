// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the crate's source makes public: constants, structures with a fixed layout, and
//! processor vendors. Reads just as much of Rust as the crate, formatted by rustfmt, uses.

use std::collections::BTreeSet;
use std::path::Path;

/// The public constants by path: `module::NAME`, or `Type::NAME` for associated ones.
/// Those that a macro makes (errno values) are not among them.
pub(crate) fn public_constants() -> BTreeSet<String> {
    let mut constants = BTreeSet::new();
    for (module, text) in files() {
        let mut implementing = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("impl ") {
                implementing = rest.split(' ').next().map(str::to_owned);
            }
            let Some(name) = constant_name(line.trim_start()) else {
                continue;
            };
            let owner = match &implementing {
                Some(implementing) if line.starts_with(' ') => implementing,
                _ => &module,
            };
            constants.insert(format!("{owner}::{name}"));
        }
    }
    assert!(
        constants.len() > 40,
        "the scan has missed most of {constants:?}"
    );
    constants
}

fn constant_name(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix("pub const ")?.split_once(':')?;
    let is_name = name
        .bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    is_name.then_some(name)
}

/// The `#[repr(C)]` structures with their fields, in order.
pub(crate) fn structures() -> Vec<(String, Vec<String>)> {
    let mut structures: Vec<(String, Vec<String>)> = Vec::new();
    for (_, text) in files() {
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line != "#[repr(C)]" {
                continue;
            }
            let declaration = lines
                .next()
                .expect("a structure follows its representation");
            let name = declaration
                .strip_prefix("pub struct ")
                .and_then(|rest| rest.strip_suffix(" {"))
                .unwrap_or_else(|| panic!("{declaration:?} is no structure with fields"));
            let fields = lines
                .by_ref()
                .take_while(|line| *line != "}")
                .filter_map(|line| line.trim_start().strip_prefix("pub "))
                .filter_map(|line| line.split_once(':'))
                .map(|(field, _)| field.to_owned())
                .collect();
            structures.push((name.to_owned(), fields));
        }
    }
    structures
}

/// The CPUID vendors that the choice of the instruction knows: the literals of 12 bytes in
/// its code, examples and comments not counted.
pub(crate) fn vendors() -> BTreeSet<Vec<u8>> {
    let (_, text) = files()
        .into_iter()
        .find(|(module, _)| module == "convention")
        .expect("the module with the choice");
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split("b\"").skip(1))
        .filter_map(|rest| rest.split('"').next())
        .filter(|literal| literal.len() == 12)
        .map(|literal| literal.as_bytes().to_vec())
        .collect()
}

/// Module name and text of each source file.
fn files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let entries = std::fs::read_dir(&folder).expect("the crate's source is there");
    entries
        .map(|entry| entry.expect("a readable entry").path())
        .map(|path| {
            let module = path
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            let text = std::fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
            (module, text)
        })
        .collect()
}
