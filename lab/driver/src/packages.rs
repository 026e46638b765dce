// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Debian packages: installed, upgraded and purged in a root of their own, and what of
//! them a guest of the lab runs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use crate::process::{Collect, Group, Job};
use crate::provision;
use crate::score::Score;
use crate::workshop::Workshop;

const SCRIPT: &str = "lab/suites/packages/install.sh";
const NAME: &str = "packages";

/// Runs the checks, which keep what the lab's guest runs for [`installed`].
pub(crate) fn stage(workshop: &mut Workshop) -> Result<Score> {
    let directory = workshop.places.output.join("packages");
    let mut collect = Collect::default();
    let finished = Job::new("packages", workshop.places.checkout.join(SCRIPT))
        .arguments([directory.as_path()])
        .group(Group::Callers)
        .limit(provision::LIMIT)
        .run(workshop, &mut collect)?;
    let score = Score::of_program(NAME, &collect.output, &finished);
    if score.failures.is_empty() {
        // Already set if the stage was run before in this run.
        let _ = workshop.packages.set(directory);
    }
    Ok(score)
}

/// Every file of the installed packages, and of what they need, that a guest is given:
/// its place and where it is.
pub(crate) fn installed(workshop: &mut Workshop) -> Result<Vec<(String, PathBuf)>> {
    if workshop.packages.get().is_none() {
        println!("      installing the packages");
        let score = stage(workshop)?;
        if let Some((name, why)) = score.failures.first() {
            bail!("{name}: {}", why.join("\n"));
        }
    }
    let root = workshop
        .packages
        .get()
        .context("no packages were installed")?;
    let mut files = Vec::new();
    collect(root, "", &mut files)?;
    Ok(files)
}

fn collect(directory: &Path, place: &str, files: &mut Vec<(String, PathBuf)>) -> Result<()> {
    let context = || format!("cannot read the directory {}", directory.display());
    for entry in fs::read_dir(directory).with_context(context)? {
        let entry = entry.with_context(context)?;
        let place = format!("{place}{}", entry.file_name().to_string_lossy());
        if entry.file_type().with_context(context)?.is_dir() {
            collect(&entry.path(), &format!("{place}/"), files)?;
        } else {
            files.push((place, entry.path()));
        }
    }
    Ok(())
}
