// SPDX-License-Identifier: MIT OR Apache-2.0
//! Booting a machine, with one retry if it does not come up.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::geteuid;

use crate::console::{Console, Shown};
use crate::description::{ConsoleAt, Machine, Medium, ModuleForm, Network, Suite};
use crate::initramfs::{self, Additions};
use crate::medium::{self, Content};
use crate::places::is_installed;
use crate::process::{Finished, Job};
use crate::provision;
use crate::template::Words;
use crate::workshop::Workshop;

/// How a boot ended.
#[derive(Debug)]
pub(crate) enum Boot {
    /// The machine came up and ran its commands, with whatever result.
    Ran(Box<Console>, Finished),
    /// It did not come up, twice.
    Failed(Vec<String>),
    /// The emulator is not installed.
    Missing(String),
}

/// Builds what a suite boots, and boots it.
pub(crate) fn boot(
    workshop: &mut Workshop,
    name: &str,
    suite: &Suite,
    shown: Shown,
) -> Result<Boot> {
    let mut machine = workshop.descriptions.machine(&suite.machine)?.clone();
    if let Some(tool) = tools(&machine).find(|tool| !is_installed(tool)) {
        return Ok(Boot::Missing(format!("{tool} is not installed")));
    }
    if let Some(script) = &machine.provision {
        let program = provision::emulator(workshop, script)?.join(&machine.program);
        machine.program = program.display().to_string();
    }
    let image = workshop.descriptions.image(&suite.image)?.clone();
    let additions = Additions {
        kernel_module: machine.kernel_module.as_deref(),
        modules: machine.modules,
        commands: &suite.commands,
    };
    let initramfs = initramfs::build(workshop, &format!("{name}-host"), &image, &additions)?;
    let cmdline = cmdline(&machine, suite.commands.len());
    let kernel = provision::kernel(workshop)?.join("vmlinuz");
    let content = Content {
        kernel: &kernel,
        initramfs: &initramfs,
        cmdline: &cmdline,
    };
    let directory = workshop.places.output.join(format!("{name}-machine"));
    let machine = Bootable {
        job: format!("machine {name}"),
        arguments: prepare(workshop, &machine, &directory, content)?,
        console: directory.join(CONSOLE),
        limit: Duration::from_secs(suite.limit_seconds),
        shown,
        machine,
    };

    let first = match machine.boot(workshop)? {
        Ok(boot) => return Ok(boot),
        Err(failure) => failure,
    };
    println!("      this was a failure to boot, not of a check: booting once more");
    workshop.retries.push(format!("{name}: {}", first[0]));
    Ok(machine.boot(workshop)?.unwrap_or_else(Boot::Failed))
}

/// A machine with everything in place.
struct Bootable {
    job: String,
    machine: Machine,
    arguments: Vec<String>,
    /// Where the console is, if it is a file.
    console: PathBuf,
    limit: Duration,
    shown: Shown,
}

impl Bootable {
    /// The inner error is a failure to boot and the last lines of the console.
    fn boot(&self, workshop: &Workshop) -> Result<Result<Boot, Vec<String>>> {
        let boot_limit = Duration::from_secs(self.machine.boot_limit_seconds);
        let mut console = Console::new(boot_limit, self.shown);
        let finished = self.job().run(workshop, &mut console)?;
        console.closed();
        let Some(failure) = console.boot_failure.take() else {
            return Ok(Ok(Boot::Ran(Box::new(console), finished)));
        };
        println!("      boot failure: {failure}");
        let mut why = vec![failure];
        why.extend(finished.last_lines());
        Ok(Err(why))
    }
    fn job(&self) -> Job {
        let program = &self.machine.program;
        let job = match self.machine.network {
            Network::Shared => Job::new(&self.job, program),
            Network::None => Job::new(&self.job, UNSHARE)
                .arguments(without_network())
                .arguments([program]),
        };
        let job = job.arguments(&self.arguments).limit(self.limit);
        match self.machine.console {
            ConsoleAt::Output => job,
            ConsoleAt::File => job.output_in(&self.console),
        }
    }
}

/// The name of a machine's console, if it is a file.
const CONSOLE: &str = "console";

const UNSHARE: &str = "unshare";

/// Only root needs no user namespace for a network namespace.
fn without_network() -> impl Iterator<Item = &'static str> {
    let user = (!geteuid().is_root()).then_some("--map-root-user");
    ["--net"].into_iter().chain(user).chain(["--"])
}

/// The programs without which a machine cannot be booted.
fn tools(machine: &Machine) -> impl Iterator<Item = &str> {
    let unshare = (machine.network == Network::None).then_some(UNSHARE);
    let strip = (machine.modules == ModuleForm::Stripped).then_some(initramfs::STRIP);
    let medium = match machine.medium {
        Medium::Kernel => &[][..],
        Medium::GrubIso => &medium::TOOLS[..],
    };
    let program = machine
        .provision
        .is_none()
        .then_some(machine.program.as_str());
    program
        .into_iter()
        .chain(unshare)
        .chain(strip)
        .chain(medium.iter().copied())
}

/// The machine's kernel command line, with the orders to init.
fn cmdline(machine: &Machine, commands: usize) -> String {
    let mut cmdline = machine.cmdline.clone();
    for number in 0..commands {
        cmdline.push_str(&format!(" lab.exec=@{}", initramfs::command_place(number)));
    }
    cmdline
}

/// Makes the machine's medium and configuration files; returns the emulator's arguments.
fn prepare(
    workshop: &Workshop,
    machine: &Machine,
    directory: &Path,
    content: Content<'_>,
) -> Result<Vec<String>> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let mut words = Words::default();
    words.set("kernel", content.kernel.display());
    words.set("initramfs", content.initramfs.display());
    words.set("cmdline", content.cmdline);
    words.set("console", directory.join(CONSOLE).display());
    if machine.medium == Medium::GrubIso {
        let iso = medium::grub_iso(workshop, directory, content)?;
        words.set("iso", iso.display());
    }
    write_files(machine, directory, &mut words)?;
    machine
        .arguments
        .iter()
        .map(|argument| words.fill(argument))
        .collect()
}

fn write_files(machine: &Machine, directory: &Path, words: &mut Words) -> Result<()> {
    let known = words.clone();
    for (name, text) in &machine.files {
        let file = directory.join(name);
        fs::write(&file, known.fill(text)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        words.set(name, file.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_files_are_filled_in_and_named_in_the_arguments() {
        let machine: Machine = toml::from_str(
            "program = 'x'\ncmdline = 'quiet'\nboot_limit_seconds = 1\narguments = []\n\
             network = 'none'\n[files]\nsettings = 'kernel={kernel}'",
        )
        .expect("a machine");
        assert_eq!(
            cmdline(&machine, 2),
            "quiet lab.exec=@/lab/command-0 lab.exec=@/lab/command-1"
        );
        assert_eq!(tools(&machine).collect::<Vec<_>>(), ["x", "unshare"]);
        let provided = Machine {
            provision: Some("x.sh".to_owned()),
            ..machine.clone()
        };
        assert_eq!(tools(&provided).collect::<Vec<_>>(), ["unshare"]);

        let directory = std::env::temp_dir().join(format!("hcall-boot-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a temporary directory");
        let mut words = Words::default();
        words.set("kernel", "/k");
        let written = write_files(&machine, &directory, &mut words);
        let named = words.fill("{settings}").map(fs::read_to_string);
        fs::remove_dir_all(&directory).expect("the directory is there");
        written.expect("written");
        assert_eq!(named.expect("a name").expect("a file"), "kernel=/k");
    }
}
