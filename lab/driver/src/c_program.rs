// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs in C for the lab's machines, which use the header of the SDK.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::description::Width;
use crate::provision;
use crate::workshop::Workshop;

/// Where the header is.
const INCLUDE: &str = "hcall-guest/include";

/// Builds the program of this file of the checkout, every warning being an error.
pub(crate) fn build(workshop: &Workshop, source: &str, width: Width) -> Result<PathBuf> {
    let (option, suffix) = match width {
        Width::Bits64 => ("-m64", "64"),
        Width::Bits32 => ("-m32", "32"),
    };
    let checkout = &workshop.places.checkout;
    let stem = Path::new(source)
        .file_stem()
        .with_context(|| format!("`{source}` names no file"))?;
    let directory = workshop.places.output.join("c");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let program = directory.join(format!("{}-{suffix}", stem.to_string_lossy()));
    provision::in_toolchain("gcc", workshop, "gcc")
        .arguments(["-std=gnu11", "-O2", "-static", option])
        .arguments(["-pedantic", "-Wall", "-Wextra", "-Werror", "-I"])
        .arguments([checkout.join(INCLUDE), checkout.join(source)])
        .arguments(["-o"])
        .arguments([program.as_path()])
        .output(workshop)?;
    Ok(program)
}
