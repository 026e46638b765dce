// SPDX-License-Identifier: MIT OR Apache-2.0
//! The exchanges of docs/control.md, as they stand there, and its list of codes.

use crate::vm::TestVm;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn page(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(path)).expect("the checkout is whole")
}

#[test]
fn exchanges_are_as_they_are_described() {
    let text = page("../docs/control.md");
    let mut lines = text.lines();
    let vm = TestVm::new();
    let mut raw = vm.connect();
    let mut exchanges = 0;
    while let Some(line) = lines.next() {
        let Some(request) = line.strip_prefix("→ {") else {
            continue;
        };
        let answer = lines.next().and_then(|line| line.strip_prefix("← "));
        let due: Value = serde_json::from_str(answer.expect("an answer")).expect("JSON");
        raw.say(format!("{{{request}\n").as_bytes());
        assert_eq!(raw.hear(), Some(due), "{request}");
        exchanges += 1;
    }
    assert!(exchanges >= 8, "{exchanges} exchanges");
}

/// Every code that the sources give out is described, and no other.
#[test]
fn codes_are_those_described() {
    let text = page("../docs/control.md");
    let (_, errors) = text.split_once("## Errors").expect("a section");
    let (errors, _) = errors.split_once("## Limits").expect("another one");
    let described: BTreeSet<&str> = errors
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('|').next())
        .flat_map(|cell| cell.split('`').step_by(2))
        .filter(|code| !code.trim().is_empty())
        .collect();
    let sources = ["service", "server", "received"]
        .map(|name| page(&format!("src/extend/control/{name}.rs")))
        .concat();
    for code in &described {
        assert!(
            sources.contains(&format!("\"{code}\"")),
            "{code} is never given"
        );
    }
    // `Refusal::new("code", …` and `=> "code",`.
    let given = sources.lines().filter_map(|line| {
        let line = line.trim();
        let rest = line.split_once("Refusal::new(\"").map(|(_, rest)| rest);
        let arm = || line.split_once("=> \"").map(|(_, rest)| rest);
        rest.or_else(arm)?.split('"').next()
    });
    let states = ["running", "paused", "ended", "kernel", "any"];
    for code in given.filter(|code| !states.contains(code)) {
        assert!(described.contains(code), "'{code}' is not described");
    }
}
