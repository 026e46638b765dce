// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which lines of the module the programs of a suite executed.
//!
//! The module for the kernel of our own counts how often each region of its code is
//! executed. `lab/coverage` collects the counters in the guests, whose consoles say them in one
//! line each; together with what the compiler wrote into
//! `hcall.ko`, LLVM's own tools make lines of that.

mod executed;
mod lines;
mod profile;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::provision::{self, Flavour};
use crate::score::Score;
use crate::workshop::Workshop;

use executed::Executed;
use lines::Files;

/// Where the module's source is.
const SOURCE: &str = "rust-module/";

/// The parts of it that are not judged: what tests the rest, and what is the ABI's and the
/// SDK's, which have tests of their own (`rust-module/../hcall-abi`).
const NOT_JUDGED: [&str; 2] = ["rust-module/kunit", "rust-module/../"];

/// One test: at least `least` of a hundred lines were executed. Shows the table.
pub(crate) fn judge(
    workshop: &mut Workshop,
    suite: &str,
    console: &[String],
    least: u32,
) -> Result<Score> {
    let name = format!("{suite}/{least} % of the module's lines executed");
    let executed = match Executed::of_console(console) {
        Ok(executed) => executed,
        Err(why) => return Ok(Score::failed(name, vec![why])),
    };
    let files = measure(workshop, &executed).context("the module's coverage")?;
    for line in files.table() {
        println!("      {line}");
    }
    let list = workshop.places.output.join("coverage/not-executed.txt");
    fs::write(&list, files.not_executed())
        .with_context(|| format!("cannot write {}", list.display()))?;
    println!("      lines that were not executed: {}", list.display());
    Ok(if files.reach(least) {
        Score::passed()
    } else {
        Score::failed(name, files.table())
    })
}

/// Has LLVM's tools find the lines of the counters.
fn measure(workshop: &mut Workshop, executed: &Executed) -> Result<Files> {
    let module = provision::module(workshop, Flavour::Debug)?;
    let content = fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
    let directory = workshop.places.output.join("coverage");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let raw = directory.join("hcall.profraw");
    let profile = directory.join("hcall.profdata");
    fs::write(&raw, profile::raw(&content, executed)?)
        .with_context(|| format!("cannot write {}", raw.display()))?;
    provision::llvm(workshop, "llvm-profdata")?
        .arguments(["merge".as_ref(), "-o".as_ref(), profile.as_path(), &raw])
        .output(workshop)?;
    let exported = provision::llvm(workshop, "llvm-cov")?
        .arguments(["export", "-format=lcov", "-instr-profile"])
        .arguments([profile.as_path(), &module])
        .output(workshop)?;
    Files::of_lcov(&exported, |file| of_module(&workshop.places.checkout, file))
}

/// The name within the checkout of a file that is judged.
fn of_module(checkout: &Path, file: &str) -> Option<String> {
    let path = Path::new(file);
    let name = path.strip_prefix(checkout).unwrap_or(path);
    let name = name.to_str()?;
    let judged = name.starts_with(SOURCE) && !NOT_JUDGED.iter().any(|not| name.starts_with(not));
    judged.then(|| name.to_owned())
}
