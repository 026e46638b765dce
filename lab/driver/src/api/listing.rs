// SPDX-License-Identifier: MIT OR Apache-2.0
//! The public items of a crate, one a line, sorted.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::api::document::{elements, kind, Document};
use crate::api::types::{flag, header, text, Names, Types};

/// What a crate offers.
#[derive(Debug)]
pub(crate) struct Listing {
    /// The lines.
    pub(crate) lines: Vec<String>,
    /// The other crates that these show, each with an item that does.
    pub(crate) exposed: BTreeMap<String, String>,
}

/// Traits that the compiler implements beside those that are derived.
const NOT_WRITTEN: [&str; 2] = ["StructuralPartialEq", "StructuralEq"];

impl Listing {
    pub(crate) fn of(document: &Document) -> Result<Self> {
        let root = document.root().context("rustdoc names no root")?;
        let mut walk = Walk {
            document,
            types: Types::new(document),
            lines: BTreeSet::new(),
            above: Vec::new(),
        };
        walk.item(root, &text(&root["name"]));
        Ok(Self {
            lines: walk.lines.into_iter().map(|(_, _, line)| line).collect(),
            exposed: walk.types.exposed(),
        })
    }
}

struct Walk<'a> {
    document: &'a Document,
    types: Types<'a>,
    /// Each behind what it is sorted by: the path, and whether it is an implementation.
    lines: BTreeSet<(String, bool, String)>,
    /// The modules that are being listed, which may contain each other by `pub use`.
    above: Vec<&'a Value>,
}

impl<'a> Walk<'a> {
    fn line(&mut self, path: &str, line: String) {
        self.lines.insert((path.to_owned(), false, line));
    }

    /// Lists the item that can be named by `path`.
    fn item(&mut self, item: &'a Value, path: &str) {
        let Some((kind, inner)) = kind(item) else {
            return;
        };
        self.types.begin(path);
        match kind {
            "module" => self.module(item, inner, path),
            "use" => self.reexport(inner, path),
            "function" => self.function(inner, path),
            "struct" | "union" => self.structure(kind, item, inner, path),
            "enum" => self.enumeration(item, inner, path),
            "trait" => self.definition(inner, path),
            "type_alias" => {
                let (of, generics) = (&inner["type"], &inner["generics"]);
                let line = format!(
                    "type {path}{} = {}",
                    self.types.generics(generics),
                    self.types.write(of)
                );
                self.line(path, line);
            }
            "constant" | "static" => {
                let line = format!("{kind} {path}: {}", self.types.write(&inner["type"]));
                self.line(path, line);
            }
            "macro" => self.line(path, format!("macro {path}!")),
            other => self.line(path, format!("{other} {path}")),
        }
    }

    fn module(&mut self, item: &'a Value, inner: &'a Value, path: &str) {
        if self.above.iter().any(|above| above["id"] == item["id"]) {
            return;
        }
        self.line(path, format!("mod {path}"));
        self.above.push(item);
        self.members(&inner["items"], path);
        self.above.pop();
    }

    fn members(&mut self, ids: &'a Value, path: &str) {
        for member in self.document.items(ids) {
            // A `use` has its name inside.
            let inside = kind(member).map(|(_, inner)| &inner["name"]);
            let name = member["name"].as_str().or(inside.and_then(Value::as_str));
            self.item(member, &format!("{path}::{}", name.unwrap_or("*")));
        }
    }

    fn reexport(&mut self, inner: &'a Value, path: &str) {
        let above = path.rsplit_once("::").map_or(path, |(above, _)| above);
        let target = self
            .document
            .item(&inner["id"])
            .filter(|target| target["crate_id"] == 0);
        match (target, flag(inner, "is_glob")) {
            (Some(target), false) => self.item(target, path),
            (Some(target), true) => {
                if let Some((_, inner)) = kind(target) {
                    // A module's members, or an enum's.
                    self.members(&inner["items"], above);
                }
            }
            (None, _) => {
                let source = text(&inner["source"]);
                let named = source.split("::").next().unwrap_or(&source).to_owned();
                let of = self.document.foreign_crate(&inner["id"]).map(str::to_owned);
                self.types.expose(&of.unwrap_or(named));
                self.line(path, format!("use {path} = {source}"));
            }
        }
    }

    fn function(&mut self, inner: &Value, path: &str) {
        let generics = &inner["generics"];
        let line = format!(
            "{}fn {path}{}{}{}",
            header(&inner["header"]),
            self.types.generics(generics),
            self.types.signature(&inner["sig"], Names::With),
            self.types.conditions(generics)
        );
        self.line(path, line);
    }

    fn structure(&mut self, kind: &str, item: &Value, inner: &'a Value, path: &str) {
        let line = format!("{kind} {path}{}{}", self.generics(inner), exhaustive(item));
        self.line(path, line);
        let shape = &inner["kind"];
        let fields = [&shape["plain"]["fields"], &shape["tuple"], &inner["fields"]];
        for ids in fields {
            self.fields(ids, path);
        }
        self.implementations(&inner["impls"], path);
    }

    fn generics(&self, inner: &Value) -> String {
        let generics = &inner["generics"];
        self.types.generics(generics) + &self.types.conditions(generics)
    }

    fn fields(&mut self, ids: &'a Value, path: &str) {
        for field in self.document.items(ids) {
            let place = format!("{path}.{}", text(&field["name"]));
            self.types.begin(&place);
            let line = format!(
                "field {place}: {}",
                self.types.write(&field["inner"]["struct_field"])
            );
            self.line(&place, line);
        }
    }

    fn enumeration(&mut self, item: &Value, inner: &'a Value, path: &str) {
        let line = format!("enum {path}{}{}", self.generics(inner), exhaustive(item));
        self.line(path, line);
        for variant in self.document.items(&inner["variants"]) {
            let place = format!("{path}::{}", text(&variant["name"]));
            self.line(&place, format!("variant {place}{}", exhaustive(variant)));
            let shape = &variant["inner"]["variant"]["kind"];
            self.fields(&shape["tuple"], &place);
            self.fields(&shape["struct"]["fields"], &place);
        }
        self.implementations(&inner["impls"], path);
    }

    fn definition(&mut self, inner: &'a Value, path: &str) {
        let bounds = self.types.bounds(&inner["bounds"]);
        let colon = if bounds.is_empty() { "" } else { ": " };
        let unsafety = if flag(inner, "is_unsafe") {
            "unsafe "
        } else {
            ""
        };
        let line = format!(
            "{unsafety}trait {path}{}{colon}{bounds}",
            self.generics(inner)
        );
        self.line(path, line);
        for member in self.document.items(&inner["items"]) {
            self.associated(member, &format!("{path}::{}", text(&member["name"])));
        }
        for implementation in self.document.items(&inner["implementations"]) {
            self.implementation(&implementation["inner"]["impl"], path);
        }
    }

    /// What belongs to a type or a trait.
    fn associated(&mut self, member: &'a Value, path: &str) {
        self.types.begin(path);
        let Some((kind, inner)) = kind(member) else {
            return;
        };
        let line = match kind {
            "assoc_const" => format!("const {path}: {}", self.types.write(&inner["type"])),
            "assoc_type" => format!("type {path}: {}", self.types.bounds(&inner["bounds"])),
            _ => return self.item(member, path),
        };
        self.line(path, line);
    }

    fn implementations(&mut self, ids: &'a Value, path: &str) {
        for implementation in self.document.items(ids) {
            self.implementation(&implementation["inner"]["impl"], path);
        }
    }

    fn implementation(&mut self, inner: &'a Value, path: &str) {
        if flag(inner, "is_synthetic") || !inner["blanket_impl"].is_null() {
            return;
        }
        if inner["trait"].is_null() {
            for member in self.document.items(&inner["items"]) {
                self.associated(member, &format!("{path}::{}", text(&member["name"])));
            }
            return;
        }
        self.types.begin(path);
        let of_trait = self.types.path(&inner["trait"]);
        if NOT_WRITTEN.contains(&of_trait.as_str()) {
            return;
        }
        let generics = &inner["generics"];
        let line = format!(
            "    impl{} {of_trait} for {}{}{}",
            self.types.generics(generics),
            self.types.write(&inner["for"]),
            self.types.conditions(generics),
            self.chosen(inner)
        );
        self.lines.insert((path.to_owned(), true, line));
    }

    /// The types that an implementation chooses.
    fn chosen(&self, inner: &Value) -> String {
        elements(&inner["items"])
            .filter_map(|id| self.document.item(id))
            .filter_map(|member| {
                let of = &member["inner"].get("assoc_type")?["type"];
                Some(format!(
                    "; {} = {}",
                    text(&member["name"]),
                    self.types.write(of)
                ))
            })
            .collect()
    }
}

fn exhaustive(item: &Value) -> &'static str {
    if item["attrs"].to_string().contains("non_exhaustive") {
        " (non-exhaustive)"
    } else {
        ""
    }
}
