// SPDX-License-Identifier: MIT OR Apache-2.0
//! The commands of `docs/guide.md` for a shell of the guest: they print what stands there.

use super::command::{if_present, succeed};
use crate::failure::{equal, Check, Failure};
use hcall_ktap::Suite;

const GUIDE: &str = include_str!("../../../../../docs/guide.md");

/// What a block of them begins with, the first prompt included.
const BLOCK: &str = "```console\n# ";

pub(super) fn add(suite: Suite<'_>) -> Suite<'_> {
    suite.case("hcall, as the guide has it", || if_present(as_it_stands))
}

fn as_it_stands() -> Check {
    let mut commands = 0;
    for block in GUIDE.split(BLOCK).skip(1) {
        let (block, _) = block.split_once("\n```").unwrap_or((block, ""));
        for step in block.split("\n# ") {
            let (command, promised) = step.split_once('\n').unwrap_or((step, ""));
            let words: Vec<&str> = command.split_whitespace().collect();
            let ["hcall", arguments @ ..] = &words[..] else {
                return Err(Failure::new(format!("{command}: not of the command hcall")));
            };
            equal(command, succeed(arguments)?.trim_end(), promised)?;
            commands += 1;
        }
    }
    equal("there are commands", commands > 0, true)
}
