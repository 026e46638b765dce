// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unikernels in C, which link the SDK's `libhcall_guest.a`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cargo;
use crate::provision;
use crate::workshop::Workshop;

/// Whether a word of an image's description names one: a directory of the checkout with a
/// Makefile, not a package.
pub(crate) fn is_one(word: &str) -> bool {
    word.contains('/')
}

/// Builds the unikernel of this directory as its Makefile does; returns its name and file.
pub(crate) fn build(workshop: &Workshop, directory: &str) -> Result<(String, PathBuf)> {
    let name = Path::new(directory)
        .file_name()
        .and_then(|name| name.to_str())
        .with_context(|| format!("`{directory}` names no directory"))?;
    let output = workshop.places.output.join("c-unikernels");
    fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
    let image = output.join(name);
    let library = cargo::guest_library(workshop)?;
    provision::in_toolchain("make (unikernel in C)", workshop, "make")
        .arguments(["--silent", "--always-make", "-C"])
        .arguments([workshop.places.checkout.join(directory)])
        .arguments([
            format!("HCALL_GUEST={}", library.display()),
            format!("OUTPUT={}", image.display()),
        ])
        .output(workshop)?;
    Ok((name.to_owned(), image))
}
