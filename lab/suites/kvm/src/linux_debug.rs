// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux as a guest with a kernel of our own: it checks memory, locks and contexts as it
//! goes, runs the module's own tests, and collects what of the module is executed.

use crate::hostile;
use crate::linux::COMMAND_LINE;
use crate::linux::{check_calls, check_no_calls, config, other_vendor, run_to, whole_suite};
use hcall_abi::{Transport, TransportSet};
use hcall_ktap::{Report, Suite};
use hcall_vmm::vmm::{End, MemorySize, TransportChoice, VmConfig};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a boot and the whole device suite may take: several times what the stock kernel may.
const LIMIT: Duration = Duration::from_secs(600);

/// An eighth of it is the shadow of the rest.
const MEMORY_MEBIBYTES: u64 = 512;

/// Loaded before hcall.ko, whose counters it collects. Without PCI, which would take minutes
/// more to build, the kernel's ACPI gives up halfway, and the serial port has no interrupt.
const MORE: &str = "acpi=off lab.module=lab_coverage.ko";

/// What a guest says for the lab's driver about what was executed.
const EXECUTED: &str = "lab-coverage: ";

/// Calls of a process through a ring, at most: the kernel's checks make each a lot of work.
const RING_CALLS: u64 = 10_000;

/// By other transports than the instruction, hostile requests are fewer by this factor.
const OTHER_TRANSPORTS: u64 = 50;

/// How much is done where it is about much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) ring_calls: u64,
    /// Without it, none.
    pub(crate) hostile_requests: Option<u64>,
    pub(crate) hostile_seed: Option<u64>,
}

pub(crate) fn add_cases<'a>(mut suite: Suite<'a>, directory: &Path, scale: Scale) -> Suite<'a> {
    let guest = Guest {
        kernel: directory.join("vmlinux"),
        initrd: directory.join("initrd"),
    };
    let processes = guest.clone();
    suite = suite.case_with_subtests("instruction: a process in the debug kernel", move || {
        processes.whole_suite(Transport::Instruction, scale.ring_calls.min(RING_CALLS))
    });
    for transport in Transport::ALL {
        let Some(requests) = scale.hostile_requests else {
            break;
        };
        // By the others only the trap differs, and where it is prepared.
        let requests = match transport {
            Transport::Instruction => requests,
            _ => requests / OTHER_TRANSPORTS,
        };
        let guest = guest.clone();
        suite = suite.case_with_subtests(
            format!("{transport}: {requests} hostile requests in the debug kernel"),
            move || guest.attacked(transport, requests, scale.hostile_seed),
        );
    }
    let refusing = guest.clone();
    suite
        .case_with_subtests(
            "instruction: the debug kernel is shown the other vendor, and the module refuses to \
             load",
            move || {
                refusing.refusal("refused-trap", |config| {
                    config.cpuid_vendor = Some(other_vendor()?);
                    Ok(())
                })
            },
        )
        .case_with_subtests(
            "the debug kernel is offered no transport, and the module refuses to load",
            move || {
                guest.refusal("no-transport", |config| {
                    config.transport = TransportChoice::Unprobed(TransportSet::EMPTY);
                    Ok(())
                })
            },
        )
}

#[derive(Clone, Debug)]
struct Guest {
    kernel: PathBuf,
    initrd: PathBuf,
}

impl Guest {
    fn config(&self, transport: Transport, suite: &str) -> Result<VmConfig, String> {
        let command_line = format!("{COMMAND_LINE} {MORE}");
        let suite = format!("--debug-kernel,{suite}");
        let mut config = config(transport, &self.kernel, &self.initrd, &command_line, &suite)?;
        config.memory =
            MemorySize::from_mebibytes(MEMORY_MEBIBYTES).map_err(|error| error.to_string())?;
        Ok(config)
    }

    fn whole_suite(&self, transport: Transport, ring_calls: u64) -> Result<Report, String> {
        let config = self.config(transport, &whole_suite(transport, ring_calls))?;
        let (run, report) = run_to(&End::Reset, config, LIMIT)?;
        pass_on(&run.console);
        check_calls(transport, &run)?;
        Ok(report)
    }

    fn attacked(
        &self,
        transport: Transport,
        requests: u64,
        seed: Option<u64>,
    ) -> Result<Report, String> {
        let suite = hostile::suite_arguments(requests, seed);
        let config = self.config(transport, &suite)?;
        let (run, report) = hostile::attacked(config, requests, LIMIT)?;
        pass_on(&run.console);
        Ok(report)
    }

    /// `change` makes a guest for which the module refuses to load.
    fn refusal(
        &self,
        name: &str,
        change: impl FnOnce(&mut VmConfig) -> Result<(), String>,
    ) -> Result<Report, String> {
        let suite = format!("--expect-enodev,{name}");
        let mut config = self.config(Transport::Instruction, &suite)?;
        change(&mut config)?;
        let (run, report) = run_to(&End::Reset, config, LIMIT)?;
        pass_on(&run.console);
        check_no_calls(&run)?;
        Ok(report)
    }
}

/// Passes on to this machine's console what the guest said for the driver.
fn pass_on(console: &str) {
    for line in console.lines().filter(|line| line.starts_with(EXECUTED)) {
        println!("{line}");
    }
}
