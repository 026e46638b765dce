// SPDX-License-Identifier: MIT OR Apache-2.0
//! Types as Rust writes them, and the crates that they are of.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::document::{elements, Document};

/// Writes types, and keeps which other crates were named, and what named each first.
#[derive(Debug)]
pub(crate) struct Types<'a> {
    document: &'a Document,
    exposed: RefCell<BTreeMap<String, String>>,
    /// The item that is being written.
    item: RefCell<String>,
}

impl<'a> Types<'a> {
    pub(crate) fn new(document: &'a Document) -> Self {
        Self {
            document,
            exposed: RefCell::default(),
            item: RefCell::default(),
        }
    }

    pub(crate) fn begin(&self, item: &str) {
        item.clone_into(&mut self.item.borrow_mut());
    }

    /// The crates, each with an item whose signature has a type of it.
    pub(crate) fn exposed(self) -> BTreeMap<String, String> {
        self.exposed.into_inner()
    }

    /// `crate::Name` of what another crate has, `Name` of the rest.
    pub(crate) fn path(&self, path: &Value) -> String {
        let written = path["path"]
            .as_str()
            .or_else(|| path["name"].as_str())
            .unwrap_or("?");
        let name = written.rsplit("::").next().unwrap_or(written);
        let arguments = self.arguments(&path["args"]);
        match self.document.foreign_crate(&path["id"]) {
            Some(other) => {
                self.expose(other);
                format!("{other}::{name}{arguments}")
            }
            None => format!("{name}{arguments}"),
        }
    }

    /// Notes that the item being written shows something of this crate.
    pub(crate) fn expose(&self, name: &str) {
        let item = self.item.borrow().clone();
        let mut exposed = self.exposed.borrow_mut();
        exposed.entry(name.to_owned()).or_insert(item);
    }

    pub(crate) fn write(&self, of: &Value) -> String {
        let Some((kind, inner)) = of.as_object().and_then(|of| of.iter().next()) else {
            return "_".to_owned();
        };
        match kind.as_str() {
            "resolved_path" => self.path(inner),
            "generic" | "primitive" => text(inner),
            "tuple" => self.tuple(inner),
            "slice" => format!("[{}]", self.write(inner)),
            "array" => format!("[{}; {}]", self.write(&inner["type"]), text(&inner["len"])),
            "borrowed_ref" => self.reference(inner),
            "raw_pointer" => {
                let mutable = if flag(inner, "is_mutable") {
                    "mut"
                } else {
                    "const"
                };
                format!("*{mutable} {}", self.write(&inner["type"]))
            }
            "impl_trait" => format!("impl {}", self.bounds(inner)),
            "dyn_trait" => self.dynamic(inner),
            "function_pointer" => format!(
                "{}fn{}",
                header(&inner["header"]),
                self.signature(&inner["sig"], Names::Without)
            ),
            "qualified_path" => self.qualified(inner),
            other => format!("?{other}"),
        }
    }

    fn tuple(&self, members: &Value) -> String {
        let members: Vec<String> = elements(members).map(|of| self.write(of)).collect();
        match &members[..] {
            [one] => format!("({one},)"),
            _ => format!("({})", members.join(", ")),
        }
    }

    fn reference(&self, inner: &Value) -> String {
        let lifetime = inner["lifetime"]
            .as_str()
            .map_or_else(String::new, |name| format!("{name} "));
        let mutable = if flag(inner, "is_mutable") {
            "mut "
        } else {
            ""
        };
        format!("&{lifetime}{mutable}{}", self.write(&inner["type"]))
    }

    fn dynamic(&self, inner: &Value) -> String {
        let mut traits: Vec<String> = elements(&inner["traits"])
            .map(|bound| self.path(&bound["trait"]))
            .collect();
        traits.extend(inner["lifetime"].as_str().map(str::to_owned));
        format!("dyn {}", traits.join(" + "))
    }

    fn qualified(&self, inner: &Value) -> String {
        let name = text(&inner["name"]);
        let of = self.write(&inner["self_type"]);
        let of_parameter = inner["self_type"].get("generic").is_some();
        if inner["trait"].is_null() || of_parameter {
            return format!("{of}::{name}");
        }
        format!("<{of} as {}>::{name}", self.path(&inner["trait"]))
    }

    fn arguments(&self, arguments: &Value) -> String {
        if let Some(inner) = arguments.get("parenthesized") {
            let inputs: Vec<String> = elements(&inner["inputs"])
                .map(|of| self.write(of))
                .collect();
            return format!("({}){}", inputs.join(", "), self.output(&inner["output"]));
        }
        let inner = &arguments["angle_bracketed"];
        let mut all: Vec<String> = elements(&inner["args"])
            .map(|of| self.argument(of))
            .collect();
        all.extend(elements(&inner["constraints"]).map(|constraint| {
            let name = text(&constraint["name"]);
            let binding = &constraint["binding"];
            match binding.get("equality") {
                Some(equal) => format!("{name} = {}", self.argument(equal)),
                None => format!("{name}: {}", self.bounds(&binding["constraint"])),
            }
        }));
        if all.is_empty() {
            return String::new();
        }
        format!("<{}>", all.join(", "))
    }

    fn argument(&self, argument: &Value) -> String {
        if let Some(lifetime) = argument.get("lifetime") {
            return text(lifetime);
        }
        match argument.get("const") {
            Some(constant) => text(&constant["expr"]),
            None => self.write(&argument["type"]),
        }
    }

    pub(crate) fn bounds(&self, bounds: &Value) -> String {
        let bounds: Vec<String> = elements(bounds).map(|bound| self.bound(bound)).collect();
        bounds.join(" + ")
    }

    fn bound(&self, bound: &Value) -> String {
        let Some(of_trait) = bound.get("trait_bound") else {
            return bound.get("outlives").map_or_else(|| "?".to_owned(), text);
        };
        let maybe = if of_trait["modifier"] == "maybe" {
            "?"
        } else {
            ""
        };
        format!("{maybe}{}", self.path(&of_trait["trait"]))
    }

    /// `<T: Bound, const N: usize>`; what `impl Trait` in an argument stands for is not shown.
    pub(crate) fn generics(&self, generics: &Value) -> String {
        let parameters: Vec<String> = elements(&generics["params"])
            .filter(|parameter| !flag(&parameter["kind"]["type"], "is_synthetic"))
            .map(|parameter| self.parameter(parameter))
            .collect();
        if parameters.is_empty() {
            return String::new();
        }
        format!("<{}>", parameters.join(", "))
    }

    fn parameter(&self, parameter: &Value) -> String {
        let name = text(&parameter["name"]);
        let kind = &parameter["kind"];
        if let Some(constant) = kind.get("const") {
            return format!("const {name}: {}", self.write(&constant["type"]));
        }
        let bounds = self.bounds(&kind["type"]["bounds"]);
        if bounds.is_empty() {
            return name;
        }
        format!("{name}: {bounds}")
    }

    pub(crate) fn conditions(&self, generics: &Value) -> String {
        let conditions: Vec<String> = elements(&generics["where_predicates"])
            .filter_map(|predicate| {
                let inner = predicate.get("bound_predicate")?;
                let bounds = self.bounds(&inner["bounds"]);
                Some(format!("{}: {bounds}", self.write(&inner["type"])))
            })
            .collect();
        if conditions.is_empty() {
            return String::new();
        }
        format!(" where {}", conditions.join(", "))
    }

    pub(crate) fn signature(&self, signature: &Value, names: Names) -> String {
        let inputs: Vec<String> = elements(&signature["inputs"])
            .map(|input| {
                let (name, of) = (&input[0], &input[1]);
                match (name.as_str(), names) {
                    (Some("self"), _) => self.receiver(of),
                    (Some(name), Names::With) => format!("{name}: {}", self.write(of)),
                    _ => self.write(of),
                }
            })
            .collect();
        format!(
            "({}){}",
            inputs.join(", "),
            self.output(&signature["output"])
        )
    }

    fn receiver(&self, of: &Value) -> String {
        let itself = |of: &Value| of["generic"] == "Self";
        match of.get("borrowed_ref") {
            Some(inner) if itself(&inner["type"]) => self.reference(inner).replace("Self", "self"),
            None if itself(of) => "self".to_owned(),
            _ => format!("self: {}", self.write(of)),
        }
    }

    fn output(&self, output: &Value) -> String {
        if output.is_null() {
            return String::new();
        }
        format!(" -> {}", self.write(output))
    }
}

/// Whether the names of a function's arguments are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    With,
    Without,
}

/// `const unsafe extern "C" `, as far as it applies.
pub(crate) fn header(header: &Value) -> String {
    let mut text = String::new();
    for (name, word) in [
        ("is_const", "const "),
        ("is_async", "async "),
        ("is_unsafe", "unsafe "),
    ] {
        if flag(header, name) {
            text.push_str(word);
        }
    }
    if let Some((abi, _)) = header["abi"].as_object().and_then(|abi| abi.iter().next()) {
        text.push_str(&format!("extern \"{abi}\" "));
    }
    text
}

pub(crate) fn flag(of: &Value, name: &str) -> bool {
    of[name].as_bool().unwrap_or(false)
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or("?").to_owned()
}
