// SPDX-License-Identifier: MIT OR Apache-2.0
//! What rustdoc says of a crate, as JSON. The format is unstable: only what has been the same
//! from Rust 1.85 on is looked at, and what has had two names is looked for by both.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// The documentation of one crate.
#[derive(Debug)]
pub(crate) struct Document(Value);

/// The crates that come with Rust, which are one thing to who uses them.
const STANDARD: [&str; 3] = ["std", "core", "alloc"];

impl Document {
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let context = || format!("cannot read {}", file.display());
        let text = fs::read_to_string(file).with_context(context)?;
        let document: Value = serde_json::from_str(&text).with_context(context)?;
        let version = document["format_version"].as_u64().with_context(context)?;
        document["index"]
            .as_object()
            .with_context(|| format!("rustdoc's format {version} has no index"))?;
        Ok(Self(document))
    }

    /// The module that is the crate.
    pub(crate) fn root(&self) -> Option<&Value> {
        self.item(&self.0["root"])
    }

    /// An item of this crate; `None` for those of others.
    pub(crate) fn item(&self, id: &Value) -> Option<&Value> {
        self.0["index"].get(key(id))
    }

    /// The items of these identifiers that are there: private ones are not.
    pub(crate) fn items<'a>(&'a self, ids: &'a Value) -> impl Iterator<Item = &'a Value> {
        ids.as_array()
            .into_iter()
            .flatten()
            .filter_map(|id| self.item(id))
    }

    /// The name of the crate that an item of another one is of, as Cargo's packages are named.
    pub(crate) fn foreign_crate(&self, id: &Value) -> Option<&str> {
        let summary = self.0["paths"].get(key(id))?;
        let number = summary["crate_id"].as_u64().filter(|number| *number != 0)?;
        let name = self.0["external_crates"][number.to_string()]["name"].as_str()?;
        (!STANDARD.contains(&name)).then_some(name)
    }
}

#[cfg(test)]
impl From<Value> for Document {
    fn from(document: Value) -> Self {
        Self(document)
    }
}

/// Identifiers are numbers, and keys of the tables are their text.
fn key(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

/// What an item is, and its description.
pub(crate) fn kind(item: &Value) -> Option<(&str, &Value)> {
    let (kind, inner) = item["inner"].as_object()?.iter().next()?;
    Some((kind, inner))
}

/// The elements of an array; nothing of anything else.
pub(crate) fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
