// SPDX-License-Identifier: MIT OR Apache-2.0
//! The public API of the crates for crates.io: `docs/api` lists it, a test compares, and
//! nothing of another crate is in it that `lab/api.toml` does not name.

mod document;
mod listing;
mod types;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{bail, Context, Result};
use serde::Deserialize;

use crate::api::document::Document;
use crate::api::listing::Listing;
use crate::cargo::NONE;
use crate::crates::published;
use crate::process::Collect;
use crate::provision::{self, none_target_arguments};
use crate::score::Score;
use crate::workshop::Workshop;

/// How many lines of a difference are shown.
const SHOWN: usize = 20;

/// A listing: of a crate, as those see it who build for this target.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct View {
    #[serde(rename = "crate")]
    package: String,
    /// The features; all, if none are named.
    features: Option<Vec<String>>,
    #[serde(default)]
    target: Target,
    /// The other crates that are meant to be seen in it.
    #[serde(default)]
    shows: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Target {
    #[default]
    Linux,
    Unikernel,
}

/// Compares what is listed with the code.
pub(crate) fn stage(workshop: &mut Workshop) -> Result<Score> {
    let views = views(workshop)?;
    let mut score = Score::default();
    for package in published(workshop)? {
        if !views.values().any(|view| view.package == package.name) {
            let why = vec!["lab/api.toml does not name the crate".to_owned()];
            score.fail(package.name, why);
        }
    }
    for (name, view) in &views {
        let listing = list(workshop, name, view)?;
        score.add(meant(name, view, &listing));
        let file = file(workshop, name);
        let listed = fs::read_to_string(&file).unwrap_or_default();
        score.add(compare(name, &listed, &listing.lines));
    }
    Ok(score)
}

/// Writes the listings anew.
pub(crate) fn accept(workshop: &mut Workshop) -> Result<ExitCode> {
    for (name, view) in &views(workshop)? {
        let listing = list(workshop, name, view)?;
        let file = file(workshop, name);
        let text = listing.lines.join("\n") + "\n";
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        println!("docs/api/{name}.txt: {} lines", listing.lines.len());
    }
    Ok(ExitCode::SUCCESS)
}

fn views(workshop: &Workshop) -> Result<BTreeMap<String, View>> {
    let file = workshop.places.checkout.join("lab/api.toml");
    let context = || format!("cannot read {}", file.display());
    let text = fs::read_to_string(&file).with_context(context)?;
    toml::from_str(&text).with_context(context)
}

fn file(workshop: &Workshop, name: &str) -> PathBuf {
    let directory = workshop.places.checkout.join("docs/api");
    directory.join(format!("{name}.txt"))
}

fn list(workshop: &Workshop, name: &str, view: &View) -> Result<Listing> {
    let document = document(workshop, view).with_context(|| format!("the API {name}"))?;
    Listing::of(&document)
}

/// Has rustdoc describe the crate in JSON, which stable compilers do only so.
fn document(workshop: &Workshop, view: &View) -> Result<Document> {
    let target = workshop.places.output.join("api");
    let mut job = provision::cargo("cargo rustdoc", workshop)
        .arguments(["rustdoc", "--locked", "--lib", "--package", &view.package])
        .environment("CARGO_TARGET_DIR", &target)
        .environment("RUSTC_BOOTSTRAP", "1");
    job = match &view.features {
        None => job.arguments(["--all-features"]),
        Some(features) => job.arguments(["--features", &features.join(",")]),
    };
    let mut output = target;
    if view.target == Target::Unikernel {
        output.push(NONE);
        job = job
            .arguments(["--target", NONE])
            .arguments(none_target_arguments(workshop)?);
    }
    let finished = job
        .arguments(["--", "-Zunstable-options", "--output-format", "json"])
        .run(workshop, &mut Collect::default())?;
    if !finished.succeeded() {
        bail!("{}", finished.failure().join("\n"));
    }
    let file = format!("{}.json", view.package.replace('-', "_"));
    Document::read(&output.join("doc").join(file))
}

/// Types of other crates are shown if they are meant to be, and only then.
fn meant(name: &str, view: &View, listing: &Listing) -> Score {
    let surprises = listing
        .exposed
        .iter()
        .filter(|(other, _)| !view.shows.contains(other))
        .map(|(other, item)| format!("{item} shows the crate {other}"));
    let absent = view
        .shows
        .iter()
        .filter(|other| !listing.exposed.contains_key(*other))
        .map(|other| format!("nothing shows the crate {other}, which lab/api.toml names"));
    let surprises: Vec<String> = surprises.chain(absent).collect();
    if surprises.is_empty() {
        return Score::passed();
    }
    Score::failed(format!("{name}: other crates"), surprises)
}

fn compare(name: &str, listed: &str, lines: &[String]) -> Score {
    let listed: Vec<&str> = listed.lines().collect();
    if listed == lines {
        return Score::passed();
    }
    let gone = listed
        .iter()
        .filter(|line| !lines.iter().any(|other| other == *line));
    let new = lines.iter().filter(|line| !listed.contains(&line.as_str()));
    let mut why = vec![format!(
        "docs/api/{name}.txt is not what is there; `make api` writes it"
    )];
    why.extend(
        gone.map(|line| format!("- {}", line.trim_start()))
            .take(SHOWN),
    );
    why.extend(
        new.map(|line| format!("+ {}", line.trim_start()))
            .take(SHOWN),
    );
    Score::failed(format!("{name}: listing"), why)
}

#[cfg(test)]
mod tests;
