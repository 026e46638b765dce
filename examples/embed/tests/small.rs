// SPDX-License-Identifier: MIT OR Apache-2.0
//! The example stays an example: as long as a person reads at a sitting, and with nothing of
//! `hcall-vmm` in it that is not the library's.

const SOURCE: &str = include_str!("../src/main.rs");
const MANIFEST: &str = include_str!("../Cargo.toml");

const MOST_LINES: usize = 150;

#[test]
fn it_is_short() {
    let lines = SOURCE.lines().count();
    assert!(lines <= MOST_LINES, "{lines} lines");
}

#[test]
fn it_uses_the_library_alone() {
    for of_the_vmm in ["hcall_vmm::vmm", "hcall_vmm::cli"] {
        assert!(!SOURCE.contains(of_the_vmm), "it uses {of_the_vmm}");
    }
    let dependencies = MANIFEST
        .split("\n[")
        .find_map(|section| section.strip_prefix("dependencies]"))
        .expect("there are dependencies");
    let names: Vec<&str> = dependencies
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        names,
        ["hcall-vmm", "kvm-bindings", "kvm-ioctls", "vm-memory"]
    );
}
