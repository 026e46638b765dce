// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where things are.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The directories that the lab works with.
#[derive(Debug)]
pub(crate) struct Places {
    /// The checkout of the project.
    pub(crate) checkout: PathBuf,
    /// What the lab makes: images, unikernels.
    pub(crate) output: PathBuf,
    /// Logs, in the cache of this user.
    pub(crate) logs: PathBuf,
}

impl Places {
    pub(crate) fn find() -> Result<Self> {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .canonicalize()
            .with_context(|| {
                format!(
                    "the checkout that this program was built in is gone ({})",
                    env!("CARGO_MANIFEST_DIR")
                )
            })?;
        let target =
            env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout.join("target"), PathBuf::from);
        let places = Self {
            output: target.join("lab"),
            logs: cache()?.join("log/lab"),
            checkout,
        };
        for directory in [&places.output, &places.logs] {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        Ok(places)
    }
}

/// The same choice as in `lab/provision/common.sh`.
fn cache() -> Result<PathBuf> {
    if let Some(cache) = env::var_os("HCALL_CACHE") {
        return Ok(PathBuf::from(cache));
    }
    env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))
        .map(|caches| caches.join("hcall"))
        .context("set HOME or HCALL_CACHE: there is no place for the cache")
}

/// Whether a program can be run by its name.
pub(crate) fn is_installed(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| {
        env::split_paths(&path).any(|directory| directory.join(program).is_file())
    })
}
