// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the tests of the C headers share: facts about a header, and the machine's C compiler,
//! which says whether they hold.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// An integer expression of C, and its value in Rust.
pub type Fact = (String, i64);

/// The fact that the C expression is the value.
pub fn fact(expression: impl Into<String>, value: impl TryInto<i64>) -> Fact {
    let value = value.try_into().unwrap_or_else(|_| panic!("fits i64"));
    (expression.into(), value)
}

/// Size of a structure, and offsets of all of its fields, as facts.
#[macro_export]
macro_rules! layout {
    ($name:literal, $structure:ty, $($field:ident),+) => {
        vec![
            $crate::fact(
                concat!("sizeof(struct ", $name, ")"),
                ::core::mem::size_of::<$structure>(),
            ),
            $($crate::fact(
                concat!("offsetof(struct ", $name, ", ", stringify!($field), ")"),
                ::core::mem::offset_of!($structure, $field),
            )),+
        ]
    };
}

/// A header, and how programs with it are compiled.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// As it is included.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
    /// The directory that it is in.
    pub directory: &'a str,
    /// Options of the compiler beside those for warnings; C11 is the language.
    pub options: &'a [&'a str],
    /// What every program has behind the facts.
    pub rest: &'a str,
}

impl Header<'_> {
    /// Fails unless the compiler finds every one of `facts` true.
    #[track_caller]
    pub fn expect(&self, facts: &[Fact]) {
        self.expect_compiled(&self.program(facts));
    }

    /// Fails if the compiler finds one of `facts` true with another value.
    #[track_caller]
    pub fn expect_wrong_values_to_be_seen(&self, facts: &[Fact]) {
        for (expression, value) in facts {
            let wrong = value.wrapping_add(1);
            let output = self.compile(&self.program(&[(expression.clone(), wrong)]));
            assert!(!output.status.success(), "{expression} passed as {wrong}");
        }
    }

    /// Fails unless `constants` are all that the header defines, but for `others`, which are no
    /// integers.
    #[track_caller]
    pub fn expect_all_constants(&self, constants: &[Fact], others: &[&str]) {
        let checked: BTreeSet<&str> = constants.iter().map(|(name, _)| name.as_str()).collect();
        let defined: BTreeSet<&str> = self
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("#define ")?.split_whitespace().next())
            .filter(|name| !others.contains(name))
            .collect();
        assert_eq!(checked, defined);
    }

    /// Fails unless `text` behind an inclusion of the header compiles.
    #[track_caller]
    pub fn expect_compiled(&self, text: &str) {
        let output = self.compile(text);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
    }

    /// What compiles if and only if every fact holds.
    fn program(&self, facts: &[Fact]) -> String {
        let mut text = String::from("#include <stddef.h>\n");
        for (expression, value) in facts {
            let constant = match *value {
                i64::MIN => "INT64_MIN".to_owned(),
                value => format!("INT64_C({value})"),
            };
            writeln!(
                text,
                "_Static_assert({expression} == {constant}, \"{expression} is {value}\");"
            )
            .expect("a string takes any text");
        }
        text + self.rest
    }

    /// Compiles to nothing, with every warning an error.
    fn compile(&self, text: &str) -> Output {
        let mut compiler = Command::new("cc")
            .args(["-std=c11", "-pedantic", "-Wall", "-Wextra", "-Werror"])
            .args(self.options)
            .args(["-fsyntax-only", "-I", self.directory, "-x", "c", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("there is a C compiler `cc`, as cargo itself needs one");
        let mut input = compiler.stdin.take().expect("it is a pipe");
        let text = format!("#include <{}>\n{text}", self.name);
        input
            .write_all(text.as_bytes())
            .expect("cc reads its input");
        drop(input);
        compiler.wait_with_output().expect("cc ends")
    }
}
