// SPDX-License-Identifier: MIT OR Apache-2.0
//! Booting a machine, with one retry if it does not come up.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::console::{Console, Shown};
use crate::description::{Machine, Suite};
use crate::initramfs::{self, Additions};
use crate::places::is_installed;
use crate::process::{Finished, Job};
use crate::provision;
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
    let machine = workshop.descriptions.machine(&suite.machine)?.clone();
    if !is_installed(&machine.program) {
        return Ok(Boot::Missing(format!(
            "{} is not installed",
            machine.program
        )));
    }
    let image = workshop.descriptions.image(&suite.image)?.clone();
    let additions = Additions {
        kernel_module: machine.kernel_module.as_deref(),
        commands: &suite.commands,
    };
    let initramfs = initramfs::build(workshop, &format!("{name}-host"), &image, &additions)?;
    let kernel = provision::kernel(workshop)?.join("vmlinuz");
    let machine = Bootable {
        job: format!("machine {name}"),
        arguments: arguments(&machine, &kernel, &initramfs, suite.commands.len()),
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
    limit: Duration,
    shown: Shown,
}

impl Bootable {
    /// The inner error is a failure to boot and the last lines of the console.
    fn boot(&self, workshop: &Workshop) -> Result<Result<Boot, Vec<String>>> {
        let boot_limit = Duration::from_secs(self.machine.boot_limit_seconds);
        let mut console = Console::new(boot_limit, self.shown);
        let finished = Job::new(&self.job, &self.machine.program)
            .arguments(&self.arguments)
            .limit(self.limit)
            .run(workshop, &mut console)?;
        console.closed();
        let Some(failure) = console.boot_failure.take() else {
            return Ok(Ok(Boot::Ran(Box::new(console), finished)));
        };
        println!("      boot failure: {failure}");
        let mut why = vec![failure];
        why.extend(finished.last_lines());
        Ok(Err(why))
    }
}

fn arguments(machine: &Machine, kernel: &Path, initramfs: &Path, commands: usize) -> Vec<String> {
    let mut cmdline = machine.cmdline.clone();
    for number in 0..commands {
        cmdline.push_str(&format!(" lab.exec=@{}", initramfs::command_place(number)));
    }
    let fill = |argument: &String| match argument.as_str() {
        "{kernel}" => kernel.display().to_string(),
        "{initramfs}" => initramfs.display().to_string(),
        "{cmdline}" => cmdline.clone(),
        _ => argument.clone(),
    };
    machine.arguments.iter().map(fill).collect()
}
