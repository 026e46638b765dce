// SPDX-License-Identifier: MIT OR Apache-2.0
//! The crates that are for crates.io: each is packaged as it would be published, and built
//! from its package, with the others' packages in the place of what crates.io does not have.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process::{Collect, Job};
use crate::provision;
use crate::score::Score;
use crate::workshop::Workshop;

/// What must be in a package beside the code.
const FILES: [&str; 3] = ["LICENSE-APACHE", "LICENSE-MIT", "README.md"];

/// The first cargo that packages crates which depend on each other without being told to.
const PACKAGES_WORKSPACES: u32 = 90;

/// A crate of this workspace that can be published.
#[derive(Debug, Deserialize)]
pub(crate) struct Published {
    pub(crate) name: String,
    publish: Option<Vec<String>>,
    description: Option<String>,
    license: Option<String>,
    readme: Option<PathBuf>,
    rust_version: Option<String>,
    keywords: Vec<String>,
    categories: Vec<String>,
}

/// Those crates, in the order of cargo.
pub(crate) fn published(workshop: &Workshop) -> Result<Vec<Published>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Published>,
    }
    let output = provision::cargo("cargo metadata", workshop)
        .arguments(["metadata", "--locked", "--no-deps", "--format-version", "1"])
        .output(workshop)?;
    let metadata: Metadata =
        serde_json::from_str(&output.concat()).context("cargo's metadata cannot be read")?;
    let mut packages = metadata.packages;
    packages.retain(|package| package.publish.is_none());
    Ok(packages)
}

pub(crate) fn stage(workshop: &mut Workshop) -> Result<Score> {
    let packages = published(workshop)?;
    let mut score = Score::default();
    for package in &packages {
        score.add(described(package));
        score.add(holds_its_papers(workshop, package)?);
    }
    score.add(builds(workshop, &packages)?);
    Ok(score)
}

fn described(package: &Published) -> Score {
    let missing: Vec<String> = [
        ("description", package.description.is_none()),
        ("license", package.license.is_none()),
        ("readme", package.readme.is_none()),
        ("rust-version", package.rust_version.is_none()),
        ("keywords", package.keywords.is_empty()),
        ("categories", package.categories.is_empty()),
    ]
    .into_iter()
    .filter(|(_, missing)| *missing)
    .map(|(name, _)| format!("Cargo.toml says no {name}"))
    .collect();
    if missing.is_empty() {
        return Score::passed();
    }
    Score::failed(format!("{}: description", package.name), missing)
}

fn holds_its_papers(workshop: &Workshop, package: &Published) -> Result<Score> {
    let files = provision::cargo("cargo package --list", workshop)
        .arguments(["package", "--list", "--locked", "--allow-dirty"])
        .arguments(["--package", &package.name])
        .output(workshop)?;
    let missing: Vec<String> = FILES
        .iter()
        .filter(|file| !files.iter().any(|other| other == *file))
        .map(|file| format!("{file} is not in the package"))
        .collect();
    if missing.is_empty() {
        return Ok(Score::passed());
    }
    Ok(Score::failed(format!("{}: files", package.name), missing))
}

/// Packages all of them and builds each from its package, with every feature.
fn builds(workshop: &Workshop, packages: &[Published]) -> Result<Score> {
    // What the packages depend on is asked of the network here, and not again.
    provision::cargo("cargo fetch", workshop)
        .arguments(["fetch", "--locked"])
        .output(workshop)?;
    let names = packages
        .iter()
        .flat_map(|package| ["--package", &package.name]);
    let place = Place::new(&workshop.places.output)?;
    let job = provision::cargo("cargo package", workshop)
        .arguments(["package", "--locked", "--offline", "--allow-dirty"])
        .arguments(["--all-features"])
        .arguments(names)
        .environment("CARGO_TARGET_DIR", place.directory());
    let job = together(workshop, job)?;
    let finished = job.run(workshop, &mut Collect::default())?;
    drop(place);
    let mut score = Score::default();
    if finished.succeeded() {
        score.tally.passed = packages.len();
    } else {
        score.fail("cargo package", finished.failure());
    }
    Ok(score)
}

/// Where cargo packages and builds. What it has once unpacked, or built, of a package's version
/// for a registry at this path, it takes for the same ever after: so each run has a path of its
/// own, and leaves nothing.
#[derive(Debug)]
struct Place {
    parent: PathBuf,
    run: String,
}

impl Place {
    fn new(output: &Path) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let place = Self {
            parent: output.join("package"),
            run: now.as_nanos().to_string(),
        };
        // What a run has left that was killed.
        place.clear();
        Ok(place)
    }

    fn directory(&self) -> PathBuf {
        self.parent.join(&self.run)
    }

    fn clear(&self) {
        let _ = fs::remove_dir_all(&self.parent);
        for unpacked in unpacked() {
            let _ = fs::remove_dir_all(unpacked);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What cargo has unpacked of registries that have no host, which are those of such runs.
fn unpacked() -> Vec<PathBuf> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cargo")));
    let sources = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    let sources = sources.into_iter().flatten().flatten();
    sources
        .filter(|source| source.file_name().as_encoded_bytes().starts_with(b"-"))
        .map(|source| source.path())
        .filter(|source| holds_a_package(source))
        .collect()
}

/// Whether it is of this workspace: every other crate that is published needs this one.
fn holds_a_package(source: &Path) -> bool {
    let entries = fs::read_dir(source).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name());
    names.any(|name| name.as_encoded_bytes().starts_with(b"hcall-abi-"))
}

/// Older cargos have it as an unstable option only.
fn together(workshop: &Workshop, job: Job) -> Result<Job> {
    let version = provision::cargo("cargo --version", workshop)
        .arguments(["--version"])
        .output(workshop)?
        .concat();
    let minor = minor_version(&version).with_context(|| format!("what is `{version}`?"))?;
    if minor >= PACKAGES_WORKSPACES {
        return Ok(job);
    }
    Ok(job
        .arguments(["-Zpackage-workspace"])
        .environment("RUSTC_BOOTSTRAP", "1"))
}

/// N of `cargo 1.N.…`.
fn minor_version(version: &str) -> Option<u32> {
    let (_, rest) = version.split_once(" 1.")?;
    rest.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(
            minor_version("cargo 1.85.1 (d73d2caf9 2024-12-31)"),
            Some(85)
        );
        assert_eq!(minor_version("cargo 1.95.0"), Some(95));
        assert_eq!(minor_version("no cargo"), None);
    }
}
