// SPDX-License-Identifier: MIT OR Apache-2.0
//! The comparison, and a listing of a small document in both forms that the format has had.

use super::*;
use serde_json::json;

#[test]
fn a_difference_is_told() {
    let lines = ["fn a::b()", "mod a"].map(str::to_owned);
    assert_eq!(compare("a", "fn a::b()\nmod a\n", &lines), Score::passed());
    let score = compare("a", "fn a::c()\nmod a\n", &lines);
    let (_, why) = &score.failures[0];
    assert_eq!(why[1..], ["- fn a::c()", "+ fn a::b()"]);
}

/// A function that takes another crate's type, in a module; its path is under `name_of_path`.
fn document(name_of_path: &str) -> Document {
    let taken = json!({"resolved_path": {name_of_path: "inside::Taken", "id": 9, "args": null}});
    Document::from(json!({
        "root": 0,
        "format_version": 1,
        "index": {
            "0": {"id": 0, "name": "mine", "crate_id": 0, "inner": {"module": {"items": [1]}}},
            "1": {"id": 1, "name": "take", "crate_id": 0, "inner": {"function": {
                "sig": {"inputs": [["it", taken]], "output": {"primitive": "u8"}},
                "generics": {"params": [], "where_predicates": []},
                "header": {"is_const": true, "is_unsafe": false, "is_async": false, "abi": "Rust"},
            }}},
        },
        "paths": {"9": {"crate_id": 4, "path": ["other", "inside", "Taken"]}},
        "external_crates": {"4": {"name": "other"}},
    }))
}

#[test]
fn other_crates_are_seen() {
    for name_of_path in ["path", "name"] {
        let listing = Listing::of(&document(name_of_path)).expect("a listing");
        let expected = ["mod mine", "const fn mine::take(it: other::Taken) -> u8"];
        assert_eq!(listing.lines, expected);
        let mut view = View {
            package: "mine".to_owned(),
            features: None,
            target: Target::Linux,
            shows: Vec::new(),
        };
        let score = meant("mine", &view, &listing);
        let (_, why) = &score.failures[0];
        assert_eq!(why[..], ["mine::take shows the crate other"]);
        view.shows.push("other".to_owned());
        assert_eq!(meant("mine", &view, &listing), Score::passed());
    }
}
