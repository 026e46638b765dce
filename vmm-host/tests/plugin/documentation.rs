// SPDX-License-Identifier: MIT OR Apache-2.0
//! `docs/plugins.md` shows what is built and run: its listings are pieces of the examples.

use std::fs;
use std::path::Path;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn listings_are_pieces_of_the_examples() {
    let document = read("docs/plugins.md");
    let listings = document.split("<!-- listing: ").skip(1);
    let mut count = 0_usize;
    for listing in listings {
        let (name, rest) = listing.split_once(" -->\n```").expect("a block follows");
        let (_language, rest) = rest.split_once('\n').expect("a block has lines");
        let (text, _) = rest.split_once("```").expect("the block ends");
        assert!(read(name).contains(text), "{name} does not hold\n{text}");
        count += 1;
    }
    let blocks = |language| document.matches(language).count();
    let blocks = blocks("```rust\n") + blocks("```c\n");
    assert!(
        blocks > 0 && count == blocks,
        "{count} of {blocks} are compared"
    );
}
