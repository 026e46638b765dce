// SPDX-License-Identifier: MIT OR Apache-2.0
//! Texts of the descriptions in which `{name}` stands for something known only later.

use std::collections::BTreeMap;

use anyhow::{bail, Result};

/// Names and what stands for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words(BTreeMap<String, String>);

impl Words {
    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl ToString) {
        self.0.insert(name.into(), value.to_string());
    }

    /// `text` with every `{name}` replaced. Other braces stay; an unknown name is an error.
    pub(crate) fn fill(&self, text: &str) -> Result<String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            rest = after;
            match after.split_once('}') {
                Some((name, behind)) if is_name(name) => {
                    let Some(value) = self.0.get(name) else {
                        let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
                        bail!(
                            "{{{name}}} stands for nothing here; there are: {}",
                            known.join(", ")
                        );
                    };
                    filled.push_str(value);
                    rest = behind;
                }
                _ => filled.push('{'),
            }
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_once_and_nothing_else_is() {
        let mut words = Words::default();
        words.set("kernel", "/a/{iso}");
        words.set("iso", "/b");
        let fill = |text: &str| words.fill(text).map_err(|error| error.to_string());
        assert_eq!(
            fill("-x={kernel},{iso} {} {A} {").as_deref(),
            Ok("-x=/a/{iso},/b {} {A} {")
        );
        let error = fill("{kernal}").expect_err("no such name");
        assert!(
            error.contains("kernal") && error.contains("iso, kernel"),
            "{error}"
        );
    }
}
