// SPDX-License-Identifier: MIT OR Apache-2.0
//! `docs/guide.md` as blocks, each of which somebody runs or compares.

use anyhow::{bail, Result};

/// Who runs a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Runner {
    /// `make guide`, in a clean root: `sh`, and the `text` that each promises.
    CleanRoot,
    /// This stage, in a terminal: `console` with the prompt `$`.
    Terminal,
    /// `lab/suites/device/src/cases/guide.rs`, in a guest: `console` with the prompt `#`.
    Guest,
    /// `examples/first-hypercall/tests/guide.rs` compares it with what is built and run;
    /// `examples/handler/tests/guide.rs` runs the Python, with something in the device's place.
    Listing,
}

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block<'a> {
    /// Of its first line.
    pub(super) line: usize,
    pub(super) runner: Runner,
    pub(super) lines: Vec<&'a str>,
}

/// A command, and what the page says that it prints.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step<'a> {
    pub(super) command: &'a str,
    pub(super) promise: String,
}

/// All blocks of the page; one that nobody runs is an error.
pub(super) fn blocks(page: &str) -> Result<Vec<Block<'_>>> {
    let mut blocks = Vec::new();
    let mut lines = (1..).zip(page.lines());
    let mut before = "";
    let mut promises = false;
    while let Some((number, line)) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let body: Vec<&str> = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| *line != "```")
                .collect();
            let prompt = body.first().and_then(|line| line.get(..2));
            let is_compared = before.starts_with("<!-- ");
            let runner = match (language, prompt) {
                ("sh", _) => Runner::CleanRoot,
                ("text", _) if promises => Runner::CleanRoot,
                ("console", Some("$ ")) => Runner::Terminal,
                ("console", Some("# ")) => Runner::Guest,
                ("rust" | "c" | "python", _) if is_compared => Runner::Listing,
                _ => bail!("line {number}: nobody runs this block"),
            };
            promises = language == "sh";
            blocks.push(Block {
                line: number + 1,
                runner,
                lines: body,
            });
        }
        before = line;
    }
    Ok(blocks)
}

impl<'a> Block<'a> {
    /// Its commands, in order.
    pub(super) fn steps(&self) -> Vec<Step<'a>> {
        let mut steps: Vec<Step<'a>> = Vec::new();
        for line in &self.lines {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step {
                    command,
                    promise: String::new(),
                }),
                (None, Some(step)) => {
                    step.promise.push_str(line);
                    step.promise.push('\n');
                }
                (None, None) => {}
            }
        }
        steps
    }
}

/// Whether `text` is what was promised, where each … stands for any text.
pub(super) fn keeps(text: &str, promise: &str) -> bool {
    let mut parts = promise.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
Text.

```sh
make run
```

```text
its end
```

<!-- listing: a.rs -->
```rust
fn main() {}
```

```console
$ first &
$ second
said
…
```

```console
# third
```
";

    #[test]
    fn each_block_has_a_runner() {
        let blocks = blocks(PAGE).expect("all are run");
        let runners: Vec<Runner> = blocks.iter().map(|block| block.runner).collect();
        use Runner::{CleanRoot, Guest, Listing, Terminal};
        assert_eq!(runners, [CleanRoot, CleanRoot, Listing, Terminal, Guest]);
        let [first, second] = &blocks[3].steps()[..] else {
            panic!("two commands");
        };
        assert_eq!((first.command, first.promise.as_str()), ("first &", ""));
        assert_eq!(second.promise, "said\n…\n");
    }

    #[test]
    fn a_block_that_nobody_runs_is_found() {
        for block in [
            "```rust\nfn main() {}\n```\n",
            "```text\na promise of nobody\n```\n",
            "```sh\n:\n```\n```text\none\n```\n```text\nanother\n```\n",
            "```console\nwithout a prompt\n```\n",
            "```toml\n```\n",
        ] {
            assert!(blocks(block).is_err(), "{block}");
        }
    }

    #[test]
    fn the_guide_has_no_block_that_nobody_runs() {
        let guide = include_str!("../../../../docs/guide.md");
        let blocks = blocks(guide).expect("all are run");
        let count = |runner| blocks.iter().filter(|block| block.runner == runner).count();
        assert!(count(Runner::Terminal) >= 3);
        assert_eq!(count(Runner::Guest), 1);
    }

    #[test]
    fn dots_stand_for_any_text() {
        for (text, promise, due) in [
            ("", "", true),
            ("a\n", "a\n", true),
            ("a\n", "", false),
            ("a\nb\n", "a\n", false),
            ("head\nany\nline\ntail\n", "head\n…\ntail\n", true),
            ("head\ntail\n", "head\n…tail\n", true),
            ("calls 12 0\n", "calls … 0\n", true),
            ("calls 12 1\n", "calls … 0\n", false),
            ("a x b y c", "a…b…c", true),
            ("a y c", "a…b…c", false),
        ] {
            assert_eq!(keeps(text, promise), due, "{text:?} {promise:?}");
        }
    }
}
