// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the scripts in `lab/provision` provide.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, Context, Result};

use crate::process::{Group, Job};
use crate::workshop::Workshop;

/// Everything cold: a toolchain, a kernel's Rust metadata, a module.
pub(crate) const LIMIT: Duration = Duration::from_secs(45 * 60);

const BESIDE_CARGO: &str = "beside-cargo.sh";
const NONE_TARGET: &str = "none-target.sh";

/// A kernel that the module is built for: the two that Debian builds for virtual machines,
/// and our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flavour {
    /// The one that the lab boots.
    Cloud,
    Generic,
    /// The one of our own, with every check that is quick enough.
    Debug,
}

impl Flavour {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cloud => "cloud",
            Self::Generic => "generic",
            Self::Debug => "debug",
        }
    }
}

/// The directory of the stock kernel that the lab boots.
pub(crate) fn kernel(workshop: &Workshop) -> Result<PathBuf> {
    if let Some(directory) = workshop.kernel.get() {
        return Ok(directory.clone());
    }
    let directory = path_from(workshop, "kernel.sh", &[Flavour::Cloud.name()])?;
    Ok(workshop.kernel.get_or_init(|| directory).clone())
}

/// The directory of the kernel of our own.
pub(crate) fn debug_kernel(workshop: &Workshop) -> Result<PathBuf> {
    if let Some(directory) = workshop.debug_kernel.get() {
        return Ok(directory.clone());
    }
    let directory = path_from(workshop, "debug-kernel.sh", &[])?;
    Ok(workshop.debug_kernel.get_or_init(|| directory).clone())
}

/// The directory of an emulator that the script of this name provides.
pub(crate) fn emulator(workshop: &Workshop, name: &str) -> Result<PathBuf> {
    path_from(workshop, name, &[])
}

/// `hcall.ko` for a flavour of the kernel.
pub(crate) fn module(workshop: &mut Workshop, flavour: Flavour) -> Result<PathBuf> {
    if let Some(module) = workshop.modules.get(&flavour) {
        return Ok(module.clone());
    }
    let module = path_from(workshop, "module.sh", &[flavour.name()])?;
    workshop.modules.insert(flavour, module.clone());
    Ok(module)
}

/// The directory with the modules that are built from this directory of the checkout, against
/// `hcall.ko` for this kernel.
pub(crate) fn other_module(
    workshop: &mut Workshop,
    source: &str,
    flavour: Flavour,
) -> Result<PathBuf> {
    let key = (source.to_owned(), flavour);
    if let Some(directory) = workshop.other_modules.get(&key) {
        return Ok(directory.clone());
    }
    let directory = path_from(workshop, "other-module.sh", &[source, flavour.name()])?;
    workshop.other_modules.insert(key, directory.clone());
    Ok(directory)
}

/// The arguments with which cargo builds for the unikernels' target on this machine.
pub(crate) fn none_target_arguments(workshop: &Workshop) -> Result<Vec<String>> {
    none_target_words(asking(workshop, NONE_TARGET), workshop)
}

fn none_target_words(job: Job, workshop: &Workshop) -> Result<Vec<String>> {
    let line = answer(NONE_TARGET, job, workshop)?;
    Ok(line.split_whitespace().map(str::to_owned).collect())
}

/// A job that runs cargo, this machine's or the toolchain's.
pub(crate) fn cargo(name: &str, workshop: &Workshop) -> Job {
    Job::new(name, script(workshop, "cargo.sh")).limit(LIMIT)
}

/// A job that runs a program where [`cargo`] runs cargo.
pub(crate) fn beside_cargo(name: &str, workshop: &Workshop, program: &str) -> Job {
    Job::new(name, script(workshop, BESIDE_CARGO))
        .arguments([program])
        .limit(LIMIT)
}

/// The root directory of where that is, `/` for this machine's.
pub(crate) fn root_of_cargo(workshop: &Workshop) -> Result<PathBuf> {
    path_from(workshop, BESIDE_CARGO, &[])
}

/// A job that runs cargo of the kernel's own toolchain, the oldest that must do.
pub(crate) fn oldest_cargo(name: &str, workshop: &Workshop) -> Job {
    let target = workshop.places.output.join("oldest");
    with_oldest_rust(cargo(name, workshop))
        .environment("CARGO_TARGET_DIR", target)
        .group(Group::Callers)
}

/// As [`none_target_arguments`], for [`oldest_cargo`].
pub(crate) fn oldest_none_target_arguments(workshop: &Workshop) -> Result<Vec<String>> {
    none_target_words(with_oldest_rust(asking(workshop, NONE_TARGET)), workshop)
}

fn with_oldest_rust(job: Job) -> Job {
    job.environment("HCALL_RUST", "toolchain")
}

/// A job that runs a program of the kernel's own toolchain.
pub(crate) fn in_toolchain(name: &str, workshop: &Workshop, program: &str) -> Job {
    Job::new(name, script(workshop, "in-toolchain.sh"))
        .arguments([program])
        .group(Group::Callers)
        .limit(LIMIT)
}

/// A job that runs a program of the LLVM that the kernel's rustc is built with.
pub(crate) fn llvm(workshop: &Workshop, program: &str) -> Result<Job> {
    let directory = path_from(workshop, "llvm.sh", &[])?;
    let job = Job::new(program, script(workshop, "in-toolchain.sh"))
        .arguments([directory.join("bin").join(program)])
        .group(Group::Callers)
        .limit(LIMIT);
    Ok(job)
}

/// The fuzz targets as programs.
#[derive(Debug)]
pub(crate) struct FuzzPrograms {
    pub(crate) directory: PathBuf,
    /// What sees them do wrong besides the processor, in words.
    pub(crate) watched_by: String,
}

/// Builds the fuzz targets.
pub(crate) fn fuzz_programs(workshop: &Workshop) -> Result<FuzzPrograms> {
    println!("      building the fuzz targets");
    let output = Job::new("fuzz.sh", script(workshop, "fuzz.sh"))
        .limit(LIMIT)
        .group(Group::Callers)
        .output(workshop)?;
    match &output[..] {
        [.., directory, watched_by] => Ok(FuzzPrograms {
            directory: directory.into(),
            watched_by: watched_by.clone(),
        }),
        _ => bail!("lab/provision/fuzz.sh printed no two lines"),
    }
}

/// A job that runs a command of cargo for 32-bit unikernels. A directory of its own keeps
/// what the machine's cargo builds from being built anew by the other compiler.
pub(crate) fn i686_cargo(name: &str, workshop: &Workshop, command: &str) -> Job {
    let target = workshop.places.output.join("i686");
    Job::new(name, script(workshop, "i686-cargo.sh"))
        .arguments([command])
        .environment("CARGO_TARGET_DIR", target)
        .group(Group::Callers)
        .limit(LIMIT)
}

fn path_from(workshop: &Workshop, name: &str, arguments: &[&str]) -> Result<PathBuf> {
    last_line(workshop, name, arguments).map(PathBuf::from)
}

fn last_line(workshop: &Workshop, name: &str, arguments: &[&str]) -> Result<String> {
    answer(name, asking(workshop, name).arguments(arguments), workshop)
}

/// A job of the script of this name, whose last line answers.
fn asking(workshop: &Workshop, name: &str) -> Job {
    Job::new(name, script(workshop, name))
        .limit(LIMIT)
        .group(Group::Callers)
}

fn answer(name: &str, job: Job, workshop: &Workshop) -> Result<String> {
    job.output(workshop)?
        .pop()
        .with_context(|| format!("lab/provision/{name} printed nothing"))
}

fn script(workshop: &Workshop, name: &str) -> PathBuf {
    workshop.places.checkout.join("lab/provision").join(name)
}
