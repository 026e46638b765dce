// SPDX-License-Identifier: MIT OR Apache-2.0
//! The commands of `docs/guide.md` that run a VM here: typed as they stand there, at a terminal,
//! and what they print compared with what the page says. (`make guide` runs the others, in a
//! clean root, and then this stage there.)

mod page;
mod terminal;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::places::is_installed;
use crate::programs;
use crate::provision;
use crate::score::Score;
use crate::workshop::Workshop;
use page::{Block, Runner};
use terminal::Terminal;

const PAGE: &str = "docs/guide.md";

pub(crate) fn stage(workshop: &mut Workshop) -> Result<Score> {
    let file = workshop.places.checkout.join(PAGE);
    let page = fs::read_to_string(&file).with_context(|| format!("cannot read {PAGE}"))?;
    let blocks = page::blocks(&page).context(PAGE)?;
    let typed: Vec<&Block<'_>> = blocks
        .iter()
        .filter(|block| block.runner == Runner::Terminal)
        .collect();
    let mut score = Score::default();
    if let Some(reason) = missing(workshop)? {
        for block in typed {
            score.skip(name(block), reason.as_str());
        }
        return Ok(score);
    }
    let clone = clone(workshop)?;
    programs::build(workshop, &clone.join(programs::DIRECTORY))?;
    let mut terminal = Terminal::open(&clone)?;
    for block in typed {
        match type_block(&mut terminal, block) {
            Ok(()) => score.add(Score::passed()),
            Err(error) => {
                let why = format!("{error:#}").lines().map(str::to_owned).collect();
                score.fail(name(block), why);
                // The next rest on what this one has begun.
                break;
            }
        }
    }
    Ok(score)
}

fn name(block: &Block<'_>) -> String {
    format!("{PAGE}, line {}", block.line)
}

fn type_block(terminal: &mut Terminal, block: &Block<'_>) -> Result<()> {
    block
        .steps()
        .iter()
        .try_for_each(|step| terminal.enter(step))
}

/// What this machine lacks for them.
fn missing(workshop: &Workshop) -> Result<Option<String>> {
    let kvm = OpenOptions::new().read(true).write(true).open("/dev/kvm");
    if let Err(error) = kvm {
        return Ok(Some(format!("/dev/kvm: {error}")));
    }
    for program in ["cc", "python3"] {
        if !is_installed(program) {
            return Ok(Some(format!("{program} is not installed")));
        }
    }
    let is_own = provision::root_of_cargo(workshop)? == Path::new("/");
    let reason = "hcall-vmm is built in the toolchain's root, statically, and loads no plugins";
    Ok((!is_own).then(|| reason.to_owned()))
}

/// A directory that is to the commands what a fresh clone is to the reader, `target` apart from
/// this checkout's.
fn clone(workshop: &Workshop) -> Result<PathBuf> {
    let clone = workshop.places.output.join("guide");
    if clone.exists() {
        fs::remove_dir_all(&clone).with_context(|| format!("cannot empty {}", clone.display()))?;
    }
    let context = || format!("cannot make {}", clone.display());
    fs::create_dir_all(clone.join("target")).with_context(context)?;
    let checkout = &workshop.places.checkout;
    for entry in fs::read_dir(checkout).with_context(context)? {
        let entry = entry.with_context(context)?;
        if entry.file_name() != "target" {
            symlink(entry.path(), clone.join(entry.file_name())).with_context(context)?;
        }
    }
    Ok(clone)
}
