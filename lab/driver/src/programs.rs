// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall-lab build`: what one wants at hand to try things, `hcall-vmm` and the examples'
//! unikernels.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::cargo;
use crate::dynamic;
use crate::provision;
use crate::workshop::Workshop;

/// Where they are, in the checkout.
pub(crate) const DIRECTORY: &str = "target/bin";

/// The package of the examples' unikernels.
const EXAMPLES: &str = "hcall-unikernels";

pub(crate) fn run(workshop: &Workshop) -> Result<ExitCode> {
    build(workshop, &workshop.places.checkout.join(DIRECTORY))?;
    println!("hcall-vmm and unikernels are in {DIRECTORY}");
    Ok(ExitCode::SUCCESS)
}

/// Builds them, and copies them to `directory`.
pub(crate) fn build(workshop: &Workshop, directory: &Path) -> Result<()> {
    let mut programs = cargo::unikernels(workshop, &[EXAMPLES.to_owned()])?;
    programs.push(("hcall-vmm".to_owned(), vmm(workshop)?));
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    for (name, file) in programs {
        let place = directory.join(name);
        // Not into a file that is perhaps being run.
        if place.exists() {
            fs::remove_file(&place)
                .with_context(|| format!("cannot remove {}", place.display()))?;
        }
        fs::copy(&file, &place).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    Ok(())
}

/// Linked dynamically, so that it loads plugins, if it is built for this machine's C library.
fn vmm(workshop: &Workshop) -> Result<PathBuf> {
    if provision::root_of_cargo(workshop)? == Path::new("/") {
        return dynamic::program(workshop, "hcall-vmm", "hcall-vmm");
    }
    println!("      without a Rust of this machine's: hcall-vmm is static, and loads no plugins");
    cargo::program(workshop, "hcall-vmm", "hcall-vmm")
}
