// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall-lab bench`: what hypercalls cost, on this machine's KVM and in the lab's
//! machines; as a table, as JSON, as a plot, and against an earlier run.

mod facts;
mod plot;
mod report;

use std::collections::BTreeSet;
use std::fs;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use clap::Args;
use hcall_ktap::Report as Ktap;
use hcall_measurement::{Measurement, Unit};

use crate::boot::{boot, Boot};
use crate::cargo::{self, UNIKERNEL_PACKAGES};
use crate::console::Shown;
use crate::initramfs;
use crate::process::{Collect, Job};
use crate::provision;
use crate::score::Score;
use crate::workshop::Workshop;
use report::{Place, Report};

/// The suite whose image has everything, on the machine with SVM.
const SUITE: &str = "bench";
/// The same where the clock counts instructions.
const COUNTING_SUITE: &str = "bench-counting";

/// What the results call this machine's own KVM.
const LOCAL: &str = "KVM of this machine";

const PACKAGE: &str = "hcall-bench";
const LOCAL_LIMIT: Duration = Duration::from_secs(300);

/// What `hcall-lab bench` can be told.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Compare with the JSON of an earlier run.
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// Fail if something is worse than in the earlier run by more than its tolerance.
    #[arg(long)]
    check: bool,
    /// Measure on this machine's KVM only, and in none of the lab's.
    #[arg(long)]
    local: bool,
}

/// Whether a run that got worse is a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Regressions {
    Said,
    Failures,
}

pub(crate) fn run(workshop: &mut Workshop, arguments: &Arguments) -> Result<ExitCode> {
    let baseline = arguments
        .baseline
        .as_deref()
        .map(Report::read)
        .transpose()?;
    let mut report = Report::new(facts::gather());
    println!("{}", report.facts_table());
    report.places.push(on_the_host(workshop)?);
    let local = local(workshop)?;
    let has_instruction = local.as_ref().is_some_and(Local::has_instruction);
    report.places.push(match local {
        Some(local) => local.place,
        None => Place::missing(LOCAL, "/dev/kvm cannot be opened"),
    });
    if !arguments.local {
        if !has_instruction {
            let name = "KVM on SVM in QEMU (TCG)";
            report.places.push(nested(workshop, SUITE, name)?);
        }
        let name = "instructions, by QEMU (TCG)";
        let place = nested(workshop, COUNTING_SUITE, name)?;
        report.places.push(place);
    }

    println!("{}", report.table(baseline.as_ref()));
    let directory = workshop.places.output.join("bench");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let (json, svg) = (
        directory.join("results.json"),
        directory.join("results.svg"),
    );
    report.write(&json)?;
    fs::write(&svg, plot::svg(&report))
        .with_context(|| format!("cannot write {}", svg.display()))?;
    println!("{}\n{}", json.display(), svg.display());
    let regressions = if arguments.check {
        Regressions::Failures
    } else {
        Regressions::Said
    };
    Ok(judge(&report, baseline.as_ref(), regressions))
}

fn judge(report: &Report, baseline: Option<&Report>, regressions: Regressions) -> ExitCode {
    let failures = report.failures();
    for failure in &failures {
        println!("FAILED {failure}");
    }
    let worse = baseline.map_or_else(Vec::new, |baseline| report.regressions(baseline));
    for regression in &worse {
        println!("WORSE {regression}");
    }
    let failed =
        !failures.is_empty() || (regressions == Regressions::Failures && !worse.is_empty());
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// The stage of `make test`: what can be measured on the local KVM, against its limits.
pub(crate) fn stage(workshop: &mut Workshop) -> Result<Score> {
    let name = "local measurements";
    Ok(match local(workshop)? {
        Some(local) => Score::of_report(name, &local.ktap),
        None => Score::skipped(name, "/dev/kvm cannot be opened"),
    })
}

/// What criterion says of the dispatch, which needs no KVM.
fn on_the_host(workshop: &Workshop) -> Result<Place> {
    println!("The host's part of a call, by criterion");
    provision::cargo("cargo bench", workshop)
        .arguments(["bench", "--locked", "--package", PACKAGE])
        .arguments(["--bench", "dispatch", "--"])
        .arguments(["--warm-up-time", "1", "--measurement-time", "2"])
        .output(workshop)?;
    let directory = workshop.places.output.join("../criterion");
    let mut measurements = Vec::new();
    for estimates in find_estimates(&directory)? {
        measurements.push(criterion_median(&directory, &estimates)?);
    }
    Ok(Place::new(
        "host outside KVM_RUN, by criterion",
        measurements,
    ))
}

/// The files `GROUP/PARAMETER/new/estimates.json`.
fn find_estimates(directory: &Path) -> Result<BTreeSet<PathBuf>> {
    let list = |directory: &Path| -> Result<Vec<PathBuf>> {
        fs::read_dir(directory)
            .with_context(|| format!("cannot read {}", directory.display()))?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    let mut found = BTreeSet::new();
    for group in list(directory)?.into_iter().filter(|path| path.is_dir()) {
        for parameter in list(&group)?.into_iter().filter(|path| path.is_dir()) {
            let file = parameter.join("new/estimates.json");
            if file.is_file() {
                found.insert(file);
            }
        }
    }
    Ok(found)
}

fn criterion_median(directory: &Path, file: &Path) -> Result<Measurement> {
    let context = || format!("{}", file.display());
    let text = fs::read_to_string(file).with_context(context)?;
    let estimates: serde_json::Value = serde_json::from_str(&text).with_context(context)?;
    let median = estimates["median"]["point_estimate"]
        .as_f64()
        .with_context(context)?;
    let name = file.strip_prefix(directory).unwrap_or(file);
    let name = name.parent().and_then(Path::parent).unwrap_or(name);
    let name = format!("{} handlers", name.display()).replace('_', " ");
    Ok(Measurement::new(name, median, Unit::Nanoseconds))
}

/// What was measured on the KVM of this machine.
struct Local {
    place: Place,
    ktap: Ktap,
    lines: Vec<String>,
}

impl Local {
    /// As the probe's report says.
    fn has_instruction(&self) -> bool {
        self.lines.iter().any(|line| {
            let line = line.trim_start_matches(['#', ' ']);
            line.starts_with("instruction") && line.contains(" works ")
        })
    }
}

fn local(workshop: &mut Workshop) -> Result<Option<Local>> {
    if let Err(error) = OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        println!("This machine has no KVM (/dev/kvm: {error})");
        return Ok(None);
    }
    println!("On the KVM of this machine");
    let suite = workshop.descriptions.suite(SUITE)?.clone();
    let bench = cargo::program(workshop, PACKAGE, "hcall-bench")?;
    let vmm = cargo::program(workshop, "hcall-vmm", "hcall-vmm")?;
    let guests = cargo::unikernel_directory(workshop, &UNIKERNEL_PACKAGES)?;
    let mut job = Job::new("hcall-bench", bench)
        .arguments(["--guests".as_ref(), guests.as_os_str()])
        .arguments(["--vmm".as_ref(), vmm.as_os_str()])
        .limit(LOCAL_LIMIT);
    // A KVM that is software boots no Linux; one that is not has everything.
    if facts::has_hardware_virtualization() {
        let linux = linux_directory(workshop, &suite.image)?;
        job = job.arguments(["--linux".as_ref(), linux.as_os_str()]);
    }
    let mut collect = Collect::default();
    let finished = job.run(workshop, &mut collect)?;
    let ktap = Ktap::parse(collect.output.iter().map(String::as_str));
    if ktap.tests.is_empty() {
        bail!(
            "hcall-bench: {}\n{}",
            finished.how(),
            finished.last_lines().join("\n")
        );
    }
    Ok(Some(Local {
        place: Place::of_console(LOCAL, &collect.output),
        ktap,
        lines: collect.output,
    }))
}

/// A directory with Linux as a guest, as it stands in the image.
fn linux_directory(workshop: &mut Workshop, image: &str) -> Result<PathBuf> {
    let directory = workshop.places.output.join("bench-linux");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    for name in ["vmlinux", "initrd"] {
        let place = format!("/lab/linux/{name}");
        let file = initramfs::locate(workshop, image, &place)?
            .with_context(|| format!("the image {image} has no {place}"))?;
        fs::copy(&file, directory.join(name))
            .with_context(|| format!("cannot copy {}", file.display()))?;
    }
    Ok(directory)
}

/// What a suite measures in its machine; the reason alone if it cannot run.
fn nested(workshop: &mut Workshop, suite: &str, name: &str) -> Result<Place> {
    println!("In a machine of the lab: {name}");
    let description = workshop.descriptions.suite(suite)?.clone();
    let console = match boot(workshop, suite, &description, Shown::Progress)? {
        Boot::Ran(console, _) => console,
        Boot::Failed(why) => bail!("the machine does not come up:\n{}", why.join("\n")),
        Boot::Missing(why) => {
            println!("  left out: {why}");
            return Ok(Place::missing(name, &why));
        }
    };
    let mut place = Place::of_console(name, &console.lines);
    if console.status != Some(0) {
        let how = console
            .status
            .map_or("no status".to_owned(), |status| status.to_string());
        place.failures.push(format!("{name}: it ended with {how}"));
    }
    Ok(place)
}
