// SPDX-License-Identifier: MIT OR Apache-2.0
//! What this machine is to do, from its kernel command line.
//!
//! | parameter | means |
//! |---|---|
//! | `lab.module=FILE,NAME=VALUE,…` | load this module, with these parameters |
//! | `lab.exec=PROGRAM,ARGUMENT,…` | run this command |
//! | `lab.exec=@FILE` | run the command in this file, one argument per line |
//! | `lab.end=poweroff`, `=reset`, `=bochs` | how to end the machine (`poweroff`) |
//! | `lab.name=NAME` | begin the lines with NAME in place of LAB: for a guest of a guest |
//!
//! Modules and commands may be given several times and are taken in order; the first
//! command that fails is the last one run.

use std::fs;

use crate::end::End;

/// The parameters that concern this program.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Orders {
    /// Each a file and its parameters.
    pub(crate) modules: Vec<Vec<String>>,
    /// Each a program and its arguments.
    pub(crate) commands: Vec<Vec<String>>,
}

/// The running kernel's command line.
pub(crate) fn kernel_command_line() -> Result<String, String> {
    read_file("/proc/cmdline")
}

/// How to end the machine, whatever else its command line says.
pub(crate) fn end(cmdline: &str) -> Option<End> {
    parameter(cmdline, "lab.end=").and_then(|end| end.parse().ok())
}

/// What this machine's lines begin with.
pub(crate) fn name(cmdline: &str) -> Option<&str> {
    parameter(cmdline, "lab.name=")
}

fn parameter<'a>(cmdline: &'a str, name: &str) -> Option<&'a str> {
    cmdline
        .split_whitespace()
        .find_map(|parameter| parameter.strip_prefix(name))
}

impl Orders {
    /// Understands a kernel command line.
    pub(crate) fn parse(cmdline: &str) -> Result<Self, String> {
        let mut orders = Self::default();
        for parameter in cmdline.split_whitespace() {
            match parameter.split_once('=') {
                Some(("lab.module", module)) => orders.modules.push(list(module)),
                Some(("lab.exec", command)) => orders.commands.push(words(command)?),
                Some(("lab.end", end)) => {
                    end.parse::<End>()?;
                }
                Some(("lab.name", _)) => {}
                Some((name, _)) if name.starts_with("lab.") => {
                    return Err(format!("unknown kernel parameter {name}"));
                }
                _ => {}
            }
        }
        if orders.commands.is_empty() {
            return Err("the kernel command line has no lab.exec=PROGRAM,ARGUMENT,…".to_owned());
        }
        Ok(orders)
    }
}

fn words(command: &str) -> Result<Vec<String>, String> {
    match command.strip_prefix('@') {
        Some(file) => Ok(read_file(file)?.lines().map(str::to_owned).collect()),
        None => Ok(list(command)),
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

fn read_file(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn everything_in_order() {
        let cmdline = "console=ttyS0 lab.module=hcall.ko,selftest=7 lab.exec=/bin/x,-a,b \
                       lab.exec=/bin/y lab.end=reset lab.name=L2 quiet\n";
        let expected = Orders {
            modules: vec![strings(&["hcall.ko", "selftest=7"])],
            commands: vec![strings(&["/bin/x", "-a", "b"]), strings(&["/bin/y"])],
        };
        assert_eq!(Orders::parse(cmdline), Ok(expected));
        assert_eq!(end(cmdline), Some(End::Reset));
        assert_eq!(name(cmdline), Some("L2"));
    }

    #[test]
    fn a_command_from_a_file() {
        let file = std::env::temp_dir().join(format!("lab-init-{}", std::process::id()));
        fs::write(&file, "/bin/a\n--cmdline\nquiet panic=-1\n").expect("a temporary file");
        let orders = Orders::parse(&format!("lab.exec=@{}", file.display()));
        fs::remove_file(&file).expect("the temporary file is there");
        let expected = strings(&["/bin/a", "--cmdline", "quiet panic=-1"]);
        assert_eq!(orders.map(|orders| orders.commands), Ok(vec![expected]));
    }

    #[test]
    fn what_cannot_be_obeyed() {
        for cmdline in [
            "",
            "quiet",
            "lab.exec=@/absent",
            "lab.exec=/bin/x lab.end=explode",
            "lab.exec=/bin/x lab.exce=/bin/y",
        ] {
            assert!(Orders::parse(cmdline).is_err(), "{cmdline}");
        }
        assert_eq!(end("lab.exce=/bin/y lab.end=reset"), Some(End::Reset));
        assert_eq!(end("lab.end=bochs"), Some(End::Bochs));
        assert_eq!(end("lab.end=explode"), None);
    }
}
