// SPDX-License-Identifier: MIT OR Apache-2.0
//! The inputs that are kept, without a fuzzer: the corpora, the seeds, and every input that
//! once broke something.

use hcall_fuzz_properties::seeds::seeds;
use hcall_fuzz_properties::{Target, TARGETS};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A corpus is kept this small, so that nobody minds it in the tree.
const CORPUS_BYTES: u64 = 64 << 10;

/// Of a corpus so many inputs are run in Miri, which takes its time.
const INPUTS_IN_MIRI: usize = 5;

/// The targets that Miri has no files for, or takes minutes for; and the one over kvm-bindings'
/// flexible arrays, which Miri's model of references forbids.
const NOT_IN_MIRI: [&str; 6] = [
    "bzimage",
    "command_line",
    "cpuid",
    "elf",
    "multiboot",
    "ring_requests",
];

/// The targets that can be run here.
fn targets() -> impl Iterator<Item = &'static Target> {
    TARGETS
        .iter()
        .filter(|target| !cfg!(miri) || !NOT_IN_MIRI.contains(&target.name))
}

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(kind)
}

/// Files below `kind`, by target.
fn inputs(kind: &str, target: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder(kind).join(target)) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let step = if cfg!(miri) {
        paths.len().div_ceil(INPUTS_IN_MIRI).max(1)
    } else {
        1
    };
    paths.into_iter().step_by(step).collect()
}

fn replay(target: &Target, path: &Path) {
    // Said where it fails: the input is in no backtrace.
    println!("{}", path.display());
    (target.run)(&fs::read(path).unwrap());
}

#[test]
fn seeds_do_no_harm() {
    for (name, seed, bytes) in seeds() {
        println!("{name}: {seed}");
        assert!(TARGETS.iter().any(|target| target.name == name));
        if let Some(target) = targets().find(|target| target.name == name) {
            (target.run)(&bytes);
        }
    }
}

#[test]
fn corpora_do_no_harm() {
    for target in targets() {
        let corpus = inputs("corpus", target.name);
        assert!(!corpus.is_empty(), "{} has no corpus", target.name);
        for path in &corpus {
            replay(target, path);
        }
    }
}

#[test]
fn what_once_broke_something_does_no_more() {
    for target in targets() {
        for path in inputs("regressions", target.name) {
            replay(target, &path);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes, and corpora are better")]
fn inputs_without_structure_do_no_harm() {
    for target in TARGETS {
        (target.run)(&[]);
        for length in [1, 7, 64, 300, 1024] {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                (target.run)(&vec![byte; length]);
            }
            let counted: Vec<u8> = (0..length).map(|index| (index * 7) as u8).collect();
            (target.run)(&counted);
        }
    }
}

/// Each target is a program for libFuzzer, and has no folder that is not its own.
#[test]
#[cfg_attr(miri, ignore = "is about files only")]
fn targets_programs_and_folders_belong_together() {
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    let named: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
    let programs: BTreeSet<&str> = manifest
        .lines()
        .filter_map(|line| {
            line.strip_prefix("path = \"fuzz_targets/")?
                .strip_suffix(".rs\"")
        })
        .collect();
    assert_eq!(programs, named);
    for name in &named {
        let program = fs::read_to_string(folder("fuzz_targets").join(format!("{name}.rs")));
        assert!(program
            .unwrap()
            .contains(&format!("hcall_fuzz_properties::{name}(data)")));
    }
    for kind in ["corpus", "regressions"] {
        let Ok(entries) = fs::read_dir(folder(kind)) else {
            continue;
        };
        for entry in entries {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(named.contains(&*name), "{kind}/{name} belongs to no target");
            let sizes = inputs(kind, &name)
                .into_iter()
                .map(|path| fs::metadata(path).unwrap().len());
            assert!(
                sizes.sum::<u64>() <= CORPUS_BYTES,
                "{kind}/{name} is too large"
            );
        }
    }
}
