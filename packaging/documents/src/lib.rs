// SPDX-License-Identifier: MIT OR Apache-2.0
//! Man pages and completions of the project's commands, made from the command lines that
//! they really take. Nothing of it is in the commands themselves.
#![forbid(unsafe_code)]

mod page;

use clap::Command;
use clap_complete::Shell;
use std::fs;
use std::io;
use std::path::Path;

/// The commands with pages of their own.
pub fn commands() -> [Command; 2] {
    [hcall_cli::command_line(), hcall_vmm::cli::command_line()]
}

/// Writes `man/*.1` and `completions/SHELL/…` of every command below `directory`; the names
/// are those under which the shells look for them. `date` is the pages', as YYYY-MM-DD.
///
/// # Errors
///
/// If a file cannot be written.
pub fn write_to(directory: &Path, date: &str) -> io::Result<()> {
    let man = directory.join("man");
    fs::create_dir_all(&man)?;
    for command in commands() {
        page::write_all(&man, command.clone(), date)?;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            write_completion(directory, shell, command.clone())?;
        }
    }
    Ok(())
}

fn write_completion(directory: &Path, shell: Shell, mut command: Command) -> io::Result<()> {
    let name = command.get_name().to_owned();
    let file = match shell {
        Shell::Zsh => format!("_{name}"),
        Shell::Fish => format!("{name}.fish"),
        _ => name.clone(),
    };
    let directory = directory.join("completions").join(shell.to_string());
    fs::create_dir_all(&directory)?;
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut text);
    fs::write(directory.join(file), text)
}
