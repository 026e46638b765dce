// SPDX-License-Identifier: MIT OR Apache-2.0
//! The stages of `make test`, cheapest first; nothing is built while a machine runs.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Context, Result};

use crate::api;
use crate::bench;
use crate::cargo::{self, C_LIBRARY_PACKAGE, C_UNIKERNELS, NONE, PACKAGE_32, UNIKERNEL_PACKAGES};
use crate::crates;
use crate::description::Source;
use crate::dynamic;
use crate::fuzzing;
use crate::guide;
use crate::libtest::Libtest;
use crate::packages;
use crate::places::is_installed;
use crate::process::{Collect, Job};
use crate::provision::{self, none_target_arguments, Flavour};
use crate::score::Score;
use crate::suite;
use crate::workshop::Workshop;

/// A part of the tests.
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut Workshop) -> Result<Score>,
}

/// All of them, in order.
pub(crate) const STAGES: &[Stage] = &[
    Stage {
        name: "format",
        run: format,
    },
    Stage {
        name: "shell scripts",
        run: shell_scripts,
    },
    Stage {
        name: "lints",
        run: lints,
    },
    Stage {
        name: "lints of unikernels",
        run: lints_of_unikernels,
    },
    Stage {
        name: "unit, integration and doc tests",
        run: cargo_tests,
    },
    Stage {
        name: "ring protocol in every order (loom)",
        run: ring_protocol,
    },
    Stage {
        name: "ten million calls through a ring",
        run: ring_stress,
    },
    Stage {
        name: "documentation",
        run: documentation,
    },
    Stage {
        name: "public API",
        run: api::stage,
    },
    Stage {
        name: "crates, as for crates.io",
        run: crates::stage,
    },
    Stage {
        name: "Miri",
        run: miri,
    },
    Stage {
        name: "fuzzing",
        run: fuzzing::stage,
    },
    Stage {
        name: "oldest Rust",
        run: oldest_rust,
    },
    Stage {
        name: "module for the cloud kernel",
        run: |workshop| module(workshop, Flavour::Cloud),
    },
    Stage {
        name: "module for the generic kernel",
        run: |workshop| module(workshop, Flavour::Generic),
    },
    Stage {
        name: "packages, installed in Debian 13",
        run: packages::stage,
    },
    Stage {
        name: "local KVM",
        run: local_kvm,
    },
    Stage {
        name: "commands of the guide",
        run: guide::stage,
    },
    Stage {
        name: "measurements on the local KVM",
        run: bench::stage,
    },
    Stage {
        name: "lab suite plain",
        run: |workshop| suite::run(workshop, "plain"),
    },
    Stage {
        name: "lab suite packages",
        run: |workshop| suite::run(workshop, "packages"),
    },
    Stage {
        name: "lab suite svm",
        run: |workshop| suite::run(workshop, "svm"),
    },
    Stage {
        name: "lab suite svm-hostile",
        run: |workshop| suite::run(workshop, "svm-hostile"),
    },
    Stage {
        name: "lab suite svm-plugins",
        run: |workshop| suite::run(workshop, "svm-plugins"),
    },
    Stage {
        name: "lab suite svm-two",
        run: |workshop| suite::run(workshop, "svm-two"),
    },
    Stage {
        name: "lab suite svm-turns",
        run: |workshop| suite::run(workshop, "svm-turns"),
    },
    Stage {
        name: "lab suite debug",
        run: |workshop| suite::run(workshop, "debug"),
    },
    Stage {
        name: "lab suite bench",
        run: |workshop| suite::run(workshop, "bench"),
    },
    Stage {
        name: "lab suite bench-counting",
        run: |workshop| suite::run(workshop, "bench-counting"),
    },
    Stage {
        name: "lab suite vmx",
        run: |workshop| suite::run(workshop, "vmx"),
    },
    Stage {
        name: "lab suite vmx-linux",
        run: |workshop| suite::run(workshop, "vmx-linux"),
    },
];

fn format(workshop: &mut Workshop) -> Result<Score> {
    let job = provision::cargo("cargo fmt", workshop).arguments(["fmt", "--all", "--check"]);
    one_check("format", job, workshop)
}

/// The workspace without what cannot be built for this machine.
fn workspace() -> impl Iterator<Item = &'static str> {
    let excluded = UNIKERNEL_PACKAGES
        .into_iter()
        .chain([PACKAGE_32])
        .flat_map(|package| ["--exclude", package]);
    ["--locked", "--workspace"].into_iter().chain(excluded)
}

/// Unikernels, and the SDK as they use it.
fn unikernel_packages() -> impl Iterator<Item = &'static str> {
    let packages = UNIKERNEL_PACKAGES
        .into_iter()
        .flat_map(|package| ["--package", package]);
    [
        "--locked",
        "--target",
        NONE,
        "--package",
        "hcall-guest",
        "--features",
        "hcall-guest/unikernel",
    ]
    .into_iter()
    .chain(packages)
}

fn lints(workshop: &mut Workshop) -> Result<Score> {
    let job = provision::cargo("cargo clippy", workshop)
        .arguments(["clippy", "--all-targets"])
        .arguments(workspace())
        .arguments(["--", "-D", "warnings"]);
    one_check("clippy", job, workshop)
}

fn lints_of_unikernels(workshop: &mut Workshop) -> Result<Score> {
    let arguments = none_target_arguments(workshop)?;
    let mut score = lint_without_system(provision::cargo, &arguments, workshop)?;
    let job = provision::i686_cargo("cargo clippy (32-bit unikernels)", workshop, "clippy")
        .arguments([
            "--locked",
            "--package",
            "hcall-guest",
            "--package",
            PACKAGE_32,
        ])
        .arguments([
            "--features",
            "hcall-guest/unikernel",
            "--",
            "-D",
            "warnings",
        ]);
    score.add(one_check("clippy for 32-bit unikernels", job, workshop)?);
    Ok(score)
}

/// What is built for no operating system: the unikernels, and the library for kernels in C.
fn lint_without_system(
    cargo: fn(&str, &Workshop) -> Job,
    arguments: &[String],
    workshop: &mut Workshop,
) -> Result<Score> {
    let job = cargo("cargo clippy (unikernels)", workshop)
        .arguments(["clippy"])
        .arguments(unikernel_packages())
        .arguments(arguments)
        .arguments(["--", "-D", "warnings"]);
    let mut score = one_check("clippy for unikernels", job, workshop)?;
    let job = cargo("cargo clippy (library for C)", workshop)
        .arguments(["clippy", "--locked", "--target", NONE])
        .arguments(["--package", C_LIBRARY_PACKAGE])
        .arguments(arguments)
        .arguments(["--", "-D", "warnings"]);
    score.add(one_check("clippy for the library for C", job, workshop)?);
    Ok(score)
}

fn cargo_tests(workshop: &mut Workshop) -> Result<Score> {
    let job = provision::cargo("cargo test", workshop)
        .arguments(["test", "--no-fail-fast"])
        .arguments(workspace());
    run_tests(job, workshop)
}

const RING_PROTOCOL: [&str; 4] = ["--package", "hcall-abi", "--test", "ring_loom"];
const LOOM: &str = "--cfg loom";

/// The model checker needs its own build of everything it looks into.
fn ring_protocol(workshop: &mut Workshop) -> Result<Score> {
    let job = provision::cargo("cargo test (loom)", workshop)
        .arguments(["test", "--locked", "--release"])
        .arguments(RING_PROTOCOL)
        .environment("RUSTFLAGS", LOOM)
        .environment("CARGO_TARGET_DIR", workshop.places.output.join("loom"));
    run_tests(job, workshop)
}

/// Without what the library does not need, so that little is built.
fn ring_stress(workshop: &mut Workshop) -> Result<Score> {
    let job = provision::cargo("cargo test (rings, optimised)", workshop)
        .arguments(["test", "--locked", "--release", "--no-default-features"])
        .arguments(["--package", "hcall-vmm", "--test", "ring"]);
    run_tests(job, workshop)
}

fn run_tests(job: Job, workshop: &Workshop) -> Result<Score> {
    let mut libtest = Libtest::default();
    let finished = job.merged().run(workshop, &mut libtest)?;
    Ok(libtest.finish(&finished))
}

/// Everything builds, and is clean, with the Rust that the kernel's own toolchain has. The
/// stage before has seen to 32-bit unikernels: there is no other for them.
fn oldest_rust(workshop: &mut Workshop) -> Result<Score> {
    let job = provision::oldest_cargo("cargo clippy (oldest Rust)", workshop)
        .arguments(["clippy", "--all-targets"])
        .arguments(workspace())
        .arguments(["--", "-D", "warnings"]);
    let mut score = one_check("oldest Rust", job, workshop)?;
    let job = provision::oldest_cargo("cargo clippy (loom, oldest Rust)", workshop)
        .arguments(["clippy", "--locked"])
        .arguments(RING_PROTOCOL)
        .arguments(["--", "-D", "warnings"])
        .environment("RUSTFLAGS", LOOM);
    score.add(one_check("oldest Rust, model checker", job, workshop)?);
    let arguments = provision::oldest_none_target_arguments(workshop)?;
    score.add(lint_without_system(
        provision::oldest_cargo,
        &arguments,
        workshop,
    )?);
    Ok(score)
}

fn documentation(workshop: &mut Workshop) -> Result<Score> {
    let document = |name| {
        provision::cargo(name, workshop)
            .arguments(["doc", "--no-deps"])
            .environment("RUSTDOCFLAGS", "-D warnings")
    };
    let job = document("cargo doc").arguments(workspace());
    let mut score = one_check("cargo doc", job, workshop)?;
    let job = document("cargo doc (unikernels)")
        .arguments(["--locked", "--target", NONE, "--package", "hcall-guest"])
        .arguments(["--features", "unikernel"])
        .arguments(none_target_arguments(workshop)?);
    score.add(one_check("cargo doc for unikernels", job, workshop)?);
    Ok(score)
}

fn miri(workshop: &mut Workshop) -> Result<Score> {
    if let Err(reason) = prepare_miri(workshop) {
        return Ok(Score::skipped("Miri", reason));
    }
    let miri = |name: &str, arguments: &[&str], flags: &str| {
        let job = Job::new(name, "rustup")
            .arguments(["run", "nightly", "cargo", "miri", "test", "--locked"])
            .arguments(arguments)
            .environment("MIRIFLAGS", flags)
            .limit(Duration::from_secs(1200));
        run_tests(job, workshop)
    };
    let mut score = miri(
        "cargo miri (hcall-abi)",
        &["--package", "hcall-abi"],
        "-Zmiri-strict-provenance",
    )?;
    score.add(miri(
        "cargo miri (detection)",
        &["--package", "hcall-guest", "--test", "detect"],
        "-Zmiri-strict-provenance",
    )?);
    // Decoding, dispatch, batches, rings, page walks and codecs, with inputs of the fuzzer's:
    // those are files, and what the host does asks the kernel for time and random bytes.
    score.add(miri(
        "cargo miri (fuzz targets)",
        &["--package", "hcall-fuzz-properties", "--test", "inputs"],
        "-Zmiri-disable-isolation",
    )?);
    Ok(score)
}

/// Has the nightly toolchain's Miri, or says why not.
fn prepare_miri(workshop: &Workshop) -> Result<(), String> {
    let rustup = |arguments: &[&str]| {
        let job = Job::new("rustup", "rustup").arguments(arguments);
        let mut collect = Collect::default();
        let ran = job.run(workshop, &mut collect);
        ran.is_ok_and(|finished| finished.succeeded())
            .then_some(collect.output)
    };
    let toolchains = rustup(&["toolchain", "list"]).ok_or("rustup is not installed")?;
    if !toolchains
        .iter()
        .any(|toolchain| toolchain.starts_with("nightly"))
    {
        return Err("no nightly toolchain is installed".to_owned());
    }
    if rustup(&["run", "nightly", "cargo", "miri", "--version"]).is_some() {
        return Ok(());
    }
    rustup(&[
        "component",
        "add",
        "--toolchain",
        "nightly",
        "miri",
        "rust-src",
    ])
    .map(|_| ())
    .ok_or_else(|| "rustup cannot add miri to the nightly toolchain".to_owned())
}

fn shell_scripts(workshop: &mut Workshop) -> Result<Score> {
    if !is_installed("shellcheck") {
        return Ok(Score::skipped("shellcheck", "shellcheck is not installed"));
    }
    let mut scripts = Vec::new();
    find_scripts(&workshop.places.checkout, &mut scripts)?;
    let job = Job::new("shellcheck", "shellcheck")
        .arguments(["--external-sources", "--source-path", "SCRIPTDIR"])
        .arguments(scripts);
    one_check("shellcheck", job, workshop)
}

/// Scripts are named `*.sh`, or begin with a line that names bash.
fn find_scripts(directory: &Path, scripts: &mut Vec<PathBuf>) -> Result<()> {
    let context = || format!("cannot read the directory {}", directory.display());
    for entry in fs::read_dir(directory).with_context(context)? {
        let entry = entry.with_context(context)?;
        let (path, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type().with_context(context)?;
        if kind.is_dir() && name != "target" && name != ".git" {
            find_scripts(&path, scripts)?;
        } else if kind.is_file() && is_script(&path) {
            scripts.push(path);
        }
    }
    Ok(())
}

fn is_script(path: &Path) -> bool {
    if path.extension().is_some() {
        return path.extension().is_some_and(|extension| extension == "sh");
    }
    fs::read(path).is_ok_and(|content| content.starts_with(b"#!/usr/bin/env bash\n"))
}

fn module(workshop: &mut Workshop, flavour: Flavour) -> Result<Score> {
    provision::module(workshop, flavour)?;
    Ok(Score::passed())
}

fn local_kvm(workshop: &mut Workshop) -> Result<Score> {
    let device = Path::new("/dev/kvm");
    if let Err(error) = OpenOptions::new().read(true).write(true).open(device) {
        return Ok(Score::skipped(
            "local KVM",
            format!("{}: {error}", device.display()),
        ));
    }
    let suite = cargo::program(workshop, "hcall-suite-kvm", "kvm-suite")?;
    let vmm = cargo::program(workshop, "hcall-vmm", "hcall-vmm")?;
    let compromised = cargo::program(workshop, "hcall-suite-kvm", "compromised-vmm")?;
    let embed = cargo::program(workshop, "hcall-embed", "hcall-embed")?;
    let [examples, guests] = UNIKERNEL_PACKAGES;
    let [in_c, tests_in_c] = C_UNIKERNELS;
    let packages = [examples, guests, PACKAGE_32, in_c, tests_in_c];
    let guests = cargo::unikernel_directory(workshop, &packages)?;
    let mut collect = Collect::default();
    let mut job = Job::new("kvm-suite", suite)
        .arguments(["--guests".as_ref(), guests.as_os_str()])
        .arguments(["--vmm".as_ref(), vmm.as_os_str()])
        .arguments(["--compromised".as_ref(), compromised.as_os_str()])
        .arguments(["--embed".as_ref(), embed.as_os_str()])
        .arguments(["--ring-calls", "20000"]);
    let can_run_here = provision::root_of_cargo(workshop)? == Path::new("/");
    if can_run_here {
        let vmm = dynamic::program(workshop, "hcall-vmm", "hcall-vmm")?;
        let plugins = plugin_directory(workshop)?;
        job = job
            .arguments(["--plugin-vmm".as_ref(), vmm.as_os_str()])
            .arguments(["--plugins".as_ref(), plugins.as_os_str()]);
    }
    let finished = job
        .limit(Duration::from_secs(180))
        .run(workshop, &mut collect)?;
    let mut score = Score::of_program("local KVM", &collect.output, &finished);
    if !can_run_here {
        let reason = "they are built in the toolchain's root, for its C library";
        score.add(Score::skipped("local KVM, plugins", reason));
    }
    Ok(score)
}

/// A directory with the plugins of the lab's image for them.
fn plugin_directory(workshop: &Workshop) -> Result<PathBuf> {
    const PLUGINS: &str = "/lab/plugins/";
    let directory = workshop.places.output.join("plugins");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let image = workshop.descriptions.image("plugin-host")?.clone();
    for (name, source) in &image {
        let Some(name) = name.strip_prefix(PLUGINS) else {
            continue;
        };
        let plugin = match source {
            Source::RustPlugin(package) => dynamic::plugin(workshop, package)?,
            Source::CPlugin(source) => dynamic::c_plugin(workshop, source)?,
            other => bail!("{name} is no plugin: {other:?}"),
        };
        fs::copy(&plugin, directory.join(name))
            .with_context(|| format!("cannot copy {}", plugin.display()))?;
    }
    Ok(directory)
}

/// A job that is one test: it passes by succeeding.
fn one_check(name: &str, job: Job, workshop: &Workshop) -> Result<Score> {
    let finished = job.run(workshop, &mut Collect::default())?;
    if finished.succeeded() {
        return Ok(Score::passed());
    }
    Ok(Score::failed(name, finished.failure()))
}
