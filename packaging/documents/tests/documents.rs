// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pages are whole, and bash understands its completions. What man, mandoc, zsh and
//! fish think of them is asked where they are installed: in the test of the packages.

use clap::Command;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

fn written(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    hcall_documents::write_to(&directory, "2026-01-01").expect("the test's directory is writable");
    directory
}

/// The page of `command`, and of all below it, names what it can be given.
fn check_pages(man: &Path, command: &Command, page: &str) {
    let file = man.join(format!("{page}.1"));
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{page}: {error}"));
    for argument in command.get_arguments() {
        if let Some(long) = argument.get_long() {
            let option = format!("\\-\\-{}", long.replace('-', "\\-"));
            assert!(text.contains(&option), "{page} does not explain {option}");
        }
        assert!(argument.get_help().is_some(), "{page}: {argument}");
    }
    for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "\"SEE ALSO\""] {
        assert!(
            text.contains(&format!(".SH {section}\n")),
            "{page}: {section}"
        );
    }
    for below in command.get_subcommands() {
        check_pages(man, below, &format!("{page}-{}", below.get_name()));
    }
}

#[test]
fn every_subcommand_has_a_page_with_its_options() {
    let man = written("pages").join("man");
    for command in hcall_documents::commands() {
        let name = command.get_name().to_owned();
        assert!(command.get_subcommands().next().is_some());
        check_pages(&man, &command, &name);
    }
}

#[test]
fn bash_completes_subcommands_and_options() {
    let completion = written("bash").join("completions/bash/hcall");
    let complete = |words: &str, last: usize| {
        let script = format!(
            "source '{}'; COMP_WORDS=({words}); COMP_CWORD={last}; \
             _hcall hcall \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{last}-1]}}\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            completion.display()
        );
        let output = Process::new("bash")
            .args(["--norc", "-euc", &script])
            .output()
            .expect("bash can be run");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert_eq!(complete("hcall inf", 1), "info\n");
    assert_eq!(complete("hcall bench --cal", 2), "--call\n--calls\n");
    assert_eq!(complete("hcall bench --call p", 3), "probe\n");
}
