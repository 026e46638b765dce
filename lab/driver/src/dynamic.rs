// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs that load shared objects, and the shared objects that they load. Both are built
//! where cargo builds, with the same C library.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use crate::cargo::{self, Programs};
use crate::description::Source;
use crate::provision;
use crate::workshop::Workshop;

/// Where the header for plugins is.
const INCLUDE: &str = "vmm-host/plugin/include";

/// What cargo has built.
#[derive(Debug)]
pub(crate) struct Dynamic {
    programs: Programs,
    /// By package.
    plugins: BTreeMap<String, PathBuf>,
}

/// A dynamically linked program.
pub(crate) fn program(workshop: &Workshop, package: &str, name: &str) -> Result<PathBuf> {
    let key = (package.to_owned(), name.to_owned());
    let program = built(workshop)?.programs.get(&key).cloned();
    program.with_context(|| format!("the package {package} has no program {name}"))
}

/// The shared object of a package.
pub(crate) fn plugin(workshop: &Workshop, package: &str) -> Result<PathBuf> {
    let plugin = built(workshop)?.plugins.get(package).cloned();
    plugin.with_context(|| format!("the package {package} has no shared object"))
}

/// Builds the shared object of this C file of the checkout, every warning being an error.
pub(crate) fn c_plugin(workshop: &Workshop, source: &str) -> Result<PathBuf> {
    let checkout = &workshop.places.checkout;
    let directory = workshop.places.output.join("c-plugins");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    // Of examples/plugin-c/plugin.c, say, the whole path, for there are other plugins.
    let plugin = directory.join(format!("{}.so", source.replace('/', "-")));
    provision::beside_cargo("cc", workshop, "cc")
        .arguments(["-std=gnu11", "-O2", "-shared", "-fPIC"])
        .arguments(["-pedantic", "-Wall", "-Wextra", "-Werror", "-I"])
        .arguments([checkout.join(INCLUDE), checkout.join(source)])
        .arguments(["-o"])
        .arguments([plugin.as_path()])
        .output(workshop)?;
    Ok(plugin)
}

/// The dynamic linker and the shared libraries that a program needs: their places, without
/// the leading `/`, and where they are.
pub(crate) fn libraries(workshop: &Workshop, program: &Path) -> Result<Vec<(String, PathBuf)>> {
    let root = provision::root_of_cargo(workshop)?;
    let listed = provision::beside_cargo("ldd", workshop, "ldd")
        .arguments([program])
        .output(workshop)?;
    if let Some(missing) = listed.iter().find(|line| line.contains("not found")) {
        bail!("{}: {}", program.display(), missing.trim());
    }
    let places: BTreeSet<&str> = listed.iter().filter_map(|line| library(line)).collect();
    Ok(places
        .into_iter()
        .map(|place| place.trim_start_matches('/'))
        .map(|place| (place.to_owned(), root.join(place)))
        .collect())
}

/// The path in a line of ldd: `NAME => PATH (ADDRESS)`, or `PATH (ADDRESS)` of the dynamic
/// linker; none of what the kernel provides.
fn library(line: &str) -> Option<&str> {
    let (named, _address) = line.trim().rsplit_once(" (")?;
    let path = named
        .rsplit_once(" => ")
        .map_or(named, |(_name, path)| path);
    path.starts_with('/').then_some(path)
}

fn built(workshop: &Workshop) -> Result<&Dynamic> {
    if let Some(dynamic) = workshop.dynamic.get() {
        return Ok(dynamic);
    }
    let dynamic = build(workshop)?;
    Ok(workshop.dynamic.get_or_init(|| dynamic))
}

/// All of all images at once, in a directory of their own: the static programs have the same
/// names.
fn build(workshop: &Workshop) -> Result<Dynamic> {
    let packages: BTreeSet<&str> = workshop
        .descriptions
        .sources()
        .filter_map(|source| match source {
            Source::DynamicProgram { package, .. } | Source::RustPlugin(package) => {
                Some(package.as_str())
            }
            _ => None,
        })
        .collect();
    println!("      building the dynamically linked programs, and plugins");
    let output = provision::cargo("cargo build (plugins)", workshop)
        .arguments(["build", "--locked", "--release"])
        .arguments(["--message-format", "json-render-diagnostics"])
        .arguments(packages.iter().flat_map(|package| ["--package", package]))
        .environment("CARGO_TARGET_DIR", workshop.places.output.join("dynamic"))
        .output(workshop)?;
    Ok(Dynamic {
        programs: cargo::executables(&output),
        plugins: cargo::shared_objects(&output),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_ldd() {
        for (line, path) in [
            (
                "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)",
                Some("/lib/x86_64-linux-gnu/libc.so.6"),
            ),
            (
                "\t/lib64/ld-linux-x86-64.so.2 (0x00007f)",
                Some("/lib64/ld-linux-x86-64.so.2"),
            ),
            ("\tlinux-vdso.so.1 (0x00007f)", None),
            ("\tlibgone.so.1 => not found", None),
            ("\tstatically linked", None),
        ] {
            assert_eq!(library(line), path, "{line}");
        }
    }
}
