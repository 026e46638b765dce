// SPDX-License-Identifier: MIT OR Apache-2.0
//! The man page of a command, and those of its subcommands.

use clap::Command;
use clap_mangen::Man;
use std::fs;
use std::io;
use std::path::Path;

/// What a page of its own says about /dev/hcall.
const DEVICE_PAGE: &str = "hcall(4)";

/// Writes a page for `command` and for each of its subcommands, however deep.
pub(crate) fn write_all(directory: &Path, command: Command, date: &str) -> io::Result<()> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    write_tree(directory, &command, date, &[])
}

/// `above` are the names of the pages of the commands that this one belongs to.
fn write_tree(directory: &Path, command: &Command, date: &str, above: &[String]) -> io::Result<()> {
    let page = page_name(command);
    let below: Vec<&Command> = command.get_subcommands().collect();
    let mut see = above.to_vec();
    see.extend(
        below
            .iter()
            .map(|command| format!("{}(1)", page_name(command))),
    );
    see.push(DEVICE_PAGE.to_owned());
    fs::write(
        directory.join(format!("{page}.1")),
        text(command, date, &see)?,
    )?;
    let above = [above, &[format!("{page}(1)")]].concat();
    for command in below {
        write_tree(directory, command, date, &above)?;
    }
    Ok(())
}

fn page_name(command: &Command) -> &str {
    command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
}

fn text(command: &Command, date: &str, see: &[String]) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let mut text = title(page_name(command), date).into_bytes();
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut text)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    if let Some(after) = command.get_after_help() {
        text.extend(section(&after.to_string()).into_bytes());
    }
    text.extend(see_also(see).into_bytes());
    Ok(text)
}

fn title(page: &str, date: &str) -> String {
    let page = page.replace('-', "\\-");
    let version = env!("CARGO_PKG_VERSION");
    format!(".TH \"{page}\" \"1\" \"{date}\" \"hcall {version}\" \"hcall\"\n")
}

/// "Exit status: 0 when …" is the section of that name.
fn section(paragraph: &str) -> String {
    let (head, body) = paragraph.split_once(": ").unwrap_or(("Notes", paragraph));
    let head = head.to_uppercase();
    // No line of ours begins with a dot or a quote, which would be an instruction.
    let body = body.replace('\\', "\\e").replace('-', "\\-");
    format!(".SH \"{head}\"\n{body}\n")
}

fn see_also(pages: &[String]) -> String {
    let pages: Vec<String> = pages
        .iter()
        .map(|page| {
            let (name, section) = page.split_once('(').unwrap_or((page, "1)"));
            format!("\\fB{}\\fR({section}", name.replace('-', "\\-"))
        })
        .collect();
    format!(".SH \"SEE ALSO\"\n{}\n", pages.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_help_becomes_a_section() {
        assert_eq!(
            section("Exit status: 0 or -1"),
            ".SH \"EXIT STATUS\"\n0 or \\-1\n"
        );
        assert_eq!(
            see_also(&["a-b(1)".to_owned(), "c(4)".to_owned()]),
            ".SH \"SEE ALSO\"\n\\fBa\\-b\\fR(1),\n\\fBc\\fR(4)\n"
        );
    }
}
