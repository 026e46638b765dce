// SPDX-License-Identifier: MIT OR Apache-2.0
//! What cargo builds for the lab's machines: static Linux programs and unikernels, those
//! of 64 bits and those of 32.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::c_unikernel;
use crate::description::Source;
use crate::provision::{cargo, i686_cargo, none_target_arguments};
use crate::workshop::Workshop;

const LINUX: &str = "x86_64-unknown-linux-gnu";
/// The target of unikernels.
pub(crate) const NONE: &str = "x86_64-unknown-none";

/// The packages that exist for [`NONE`] only.
pub(crate) const UNIKERNEL_PACKAGES: [&str; 2] = ["hcall-unikernels", "hcall-lab-guests"];

/// The package for 32-bit mode, which `i686-cargo.sh` has a target for.
pub(crate) const PACKAGE_32: &str = "hcall-lab-guests32";

/// The SDK for unikernels in C: the package, and what is built of it.
pub(crate) const C_LIBRARY_PACKAGE: &str = "hcall-guest-c";
const C_LIBRARY: &str = "libhcall_guest.a";

/// The unikernels that are no packages: directories, as [`c_unikernel`] wants them.
pub(crate) const C_UNIKERNELS: [&str; 2] = ["examples/unikernel-c", "lab/guests/c-registers"];

/// Programs by package and name.
pub(crate) type Programs = BTreeMap<(String, String), PathBuf>;

/// Unikernels by package: name and file.
pub(crate) type Unikernels = BTreeMap<String, Vec<(String, PathBuf)>>;

/// A statically linked program.
pub(crate) fn program(workshop: &Workshop, package: &str, name: &str) -> Result<PathBuf> {
    let programs = match workshop.programs.get() {
        Some(programs) => programs,
        None => {
            let built = build_programs(workshop)?;
            workshop.programs.get_or_init(|| built)
        }
    };
    programs
        .get(&(package.to_owned(), name.to_owned()))
        .cloned()
        .with_context(|| format!("the package {package} has no program {name}"))
}

/// The unikernels of these packages, and those in C of these directories.
pub(crate) fn unikernels(
    workshop: &Workshop,
    packages: &[String],
) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for package in packages {
        if c_unikernel::is_one(package) {
            found.push(c_unikernel::build(workshop, package)?);
            continue;
        }
        let of_package = of_its_width(workshop, package)?
            .get(package)
            .with_context(|| format!("the package {package} has no unikernels"))?;
        found.extend_from_slice(of_package);
    }
    Ok(found)
}

/// The unikernels for the mode that those of `package` are for, built if they are not.
fn of_its_width<'a>(workshop: &'a Workshop, package: &str) -> Result<&'a Unikernels> {
    let (built, build): (_, fn(&Workshop) -> Result<Unikernels>) = match package {
        PACKAGE_32 => (&workshop.unikernels_32, build_unikernels_32),
        _ => (&workshop.unikernels, build_unikernels),
    };
    if let Some(unikernels) = built.get() {
        return Ok(unikernels);
    }
    let unikernels = build(workshop)?;
    Ok(built.get_or_init(|| unikernels))
}

/// A directory with the unikernels of these packages and nothing else.
pub(crate) fn unikernel_directory(workshop: &Workshop, packages: &[&str]) -> Result<PathBuf> {
    let packages: Vec<String> = packages.iter().map(ToString::to_string).collect();
    let directory = workshop
        .places
        .output
        .join("guests")
        .join(packages.join("+"));
    if directory.exists() {
        fs::remove_dir_all(&directory)
            .with_context(|| format!("cannot empty {}", directory.display()))?;
    }
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    for (name, file) in unikernels(workshop, &packages)? {
        fs::copy(&file, directory.join(name))
            .with_context(|| format!("cannot copy {}", file.display()))?;
    }
    Ok(directory)
}

/// All programs of all images at once: one set of features, so that nothing is built twice.
fn build_programs(workshop: &Workshop) -> Result<Programs> {
    let packages: BTreeSet<&str> = workshop
        .descriptions
        .sources()
        .filter_map(|source| match source {
            Source::Program { package, .. } => Some(package.as_str()),
            _ => None,
        })
        .collect();
    println!("      building the programs of the lab's images");
    let output = cargo("cargo build (programs)", workshop)
        .arguments([
            "build",
            "--locked",
            "--release",
            "--bins",
            "--target",
            LINUX,
        ])
        .arguments(["--message-format", "json-render-diagnostics"])
        .arguments(packages.iter().flat_map(|package| ["--package", package]))
        .environment(
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
            "-C target-feature=+crt-static -C strip=debuginfo",
        )
        .output(workshop)?;
    Ok(executables(&output))
}

fn build_unikernels(workshop: &Workshop) -> Result<Unikernels> {
    println!("      building the unikernels");
    let output = cargo("cargo build (unikernels)", workshop)
        .arguments(["build", "--locked", "--release", "--bins", "--target", NONE])
        .arguments(["--message-format", "json-render-diagnostics"])
        .arguments(none_target_arguments(workshop)?)
        .arguments(
            UNIKERNEL_PACKAGES
                .iter()
                .flat_map(|package| ["--package", package]),
        )
        .output(workshop)?;
    Ok(by_package(&output))
}

fn build_unikernels_32(workshop: &Workshop) -> Result<Unikernels> {
    println!("      building the 32-bit unikernels");
    let output = i686_cargo("cargo build (32-bit unikernels)", workshop, "build")
        .arguments(["--locked", "--release", "--bins", "--package", PACKAGE_32])
        .arguments(["--message-format", "json-render-diagnostics"])
        .output(workshop)?;
    Ok(by_package(&output))
}

/// `libhcall_guest.a`, built if it is not. By itself: another package would turn on the
/// SDK's start code, which a kernel in C has its own of.
pub(crate) fn guest_library(workshop: &Workshop) -> Result<PathBuf> {
    if let Some(library) = workshop.guest_library.get() {
        return Ok(library.clone());
    }
    let output = cargo("cargo build (library for C)", workshop)
        .arguments(["build", "--locked", "--release", "--target", NONE])
        .arguments(["--message-format", "json-render-diagnostics"])
        .arguments(["--package", C_LIBRARY_PACKAGE])
        .arguments(none_target_arguments(workshop)?)
        .output(workshop)?;
    let library = artifacts(&output)
        .flat_map(|message| message.filenames)
        .find(|file| file.ends_with(C_LIBRARY))
        .with_context(|| format!("cargo built no {C_LIBRARY}"))?;
    Ok(workshop.guest_library.get_or_init(|| library).clone())
}

fn by_package(messages: &[String]) -> Unikernels {
    let mut unikernels = Unikernels::new();
    for ((package, name), file) in executables(messages) {
        unikernels.entry(package).or_default().push((name, file));
    }
    unikernels
}

/// The part of cargo's messages that matters here.
#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    executable: Option<PathBuf>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
}

/// What cargo says it built, or found up to date.
fn artifacts(messages: &[String]) -> impl Iterator<Item = Message> + '_ {
    messages
        .iter()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact")
}

/// The executables of it.
pub(crate) fn executables(messages: &[String]) -> Programs {
    artifacts(messages)
        .filter_map(|message| {
            let package = package_name(&message.manifest_path?)?;
            Some(((package, message.target?.name), message.executable?))
        })
        .collect()
}

/// The shared objects of it, by package.
pub(crate) fn shared_objects(messages: &[String]) -> BTreeMap<String, PathBuf> {
    let is_shared = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "so");
    artifacts(messages)
        .filter_map(|message| {
            let package = package_name(&message.manifest_path?)?;
            Some((package, message.filenames.into_iter().find(is_shared)?))
        })
        .collect()
}

fn package_name(manifest: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Manifest {
        package: Package,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
    }
    let manifest: Manifest = toml::from_str(&fs::read_to_string(manifest).ok()?).ok()?;
    Some(manifest.package.name)
}
