// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux as a guest: the stock kernel boots, loads the module, and a process calls.

use crate::handlers::{lock, Arguments};
use crate::probing::native_instruction;
use crate::running::{calls_over, run, Run};
use crate::wrong_vendor::other;
use hcall_abi::convention::TrapInstruction;
use hcall_abi::Transport;
use hcall_ktap::{Report, Suite};
use hcall_lab_contract::MIX;
use hcall_vmm::vmm::{End, MemorySize, TransportChoice, VmConfig};
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread::available_parallelism;
use std::time::Duration;

/// What a boot and the whole device suite may take, nested and on busy cores.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

/// `noxsave`: XSAVE set-up of a nested guest panics under some emulators. `reboot=k`: the
/// end of the guest is a reset by the keyboard controller. `cryptomgr.notests`: in an
/// interpreter, the kernel's tests of its own cryptography take longer than the rest of the boot.
pub(crate) const COMMAND_LINE: &str =
    "console=ttyS0 panic=-1 reboot=k noxsave cryptomgr.notests loglevel=1 \
                            lab.end=reset";

/// The suite that every guest runs; its arguments follow.
const SUITE: &str = "lab.exec=/bin/device-suite,--module,/modules/hcall.ko";

/// The transports, and the ways to boot the stock kernel.
const BOOTS: [(Transport, &str, &str); 4] = [
    (Transport::Instruction, "bzImage", "vmlinuz"),
    (Transport::Instruction, "vmlinux by PVH", "vmlinux"),
    (Transport::Carrier, "vmlinux by PVH", "vmlinux"),
    (Transport::Port, "vmlinux by PVH", "vmlinux"),
];

/// What device-suite calls for each `MIX`, and what is left for the example's `PRINT`.
const MIXED_PER_ARITY: u64 = 1000;

/// Calls of a process through a ring, at most.
const RING_CALLS: u64 = 100_000;

pub(crate) fn add_cases<'a>(mut suite: Suite<'a>, directory: &Path, ring_calls: u64) -> Suite<'a> {
    for (transport, name, image) in BOOTS {
        let kernel = directory.join(image);
        let initrd = directory.join("initrd");
        suite = suite.case_with_subtests(
            format!("{transport}: a process in stock Linux ({name})"),
            move || boot(transport, &kernel, &initrd, ring_calls.min(RING_CALLS)),
        );
    }
    let kernel = directory.join("vmlinux");
    let initrd = directory.join("initrd");
    suite.case_with_subtests(
        "instruction: stock Linux is shown the other vendor, and the module refuses to load",
        move || boot_with_other_vendor(&kernel, &initrd),
    )
}

/// A guest with this command line, and device-suite with these arguments at its end.
pub(crate) fn config(
    transport: Transport,
    kernel: &Path,
    initrd: &Path,
    command_line: &str,
    suite: &str,
) -> Result<VmConfig, String> {
    let mut config = VmConfig::new(kernel);
    config.initrd = Some(initrd.into());
    config.memory = MemorySize::from_mebibytes(320).map_err(|error| error.to_string())?;
    config.transport = TransportChoice::Only(transport);
    config.command_line = format!("{command_line} {SUITE},{suite}");
    Ok(config)
}

/// Runs the guest to this end; what its suite reported.
pub(crate) fn run_to(
    end: &End,
    config: VmConfig,
    limit: Duration,
) -> Result<(Run, Report), String> {
    judge(end, run(config, Arguments::Any, limit, |_| {})?)
}

/// What the suite of a guest that has run reported, if this was its end.
pub(crate) fn judge(end: &End, run: Run) -> Result<(Run, Report), String> {
    let report = Report::parse(run.console.lines());
    if report.failed() {
        // The sub-report says which checks failed; the rest of the console says why.
        for line in run.console.lines() {
            println!("# L2| {line}");
        }
    }
    run.expect_end(end)?;
    Ok((run, report))
}

/// The module believes CPUID, executes the wrong instruction once, and gives up.
fn boot_with_other_vendor(kernel: &Path, initrd: &Path) -> Result<Report, String> {
    let suite = "--expect-enodev,refused-trap";
    let mut config = config(Transport::Instruction, kernel, initrd, COMMAND_LINE, suite)?;
    config.cpuid_vendor = Some(other_vendor()?);
    let (run, report) = run_to(&End::Reset, config, LIMIT)?;
    check_no_calls(&run)?;
    Ok(report)
}

/// A vendor whose instruction this machine's processor does not have.
pub(crate) fn other_vendor() -> Result<[u8; 12], String> {
    Ok(match other(native_instruction()?) {
        TrapInstruction::Vmmcall => *b"AuthenticAMD",
        TrapInstruction::Vmcall => *b"GenuineIntel",
    })
}

pub(crate) fn check_no_calls(run: &Run) -> Result<(), String> {
    if run.stats.calls != 0 {
        return Err(format!("calls arrived: {:?}", run.stats));
    }
    Ok(())
}

fn boot(
    transport: Transport,
    kernel: &Path,
    initrd: &Path,
    ring_calls: u64,
) -> Result<Report, String> {
    let suite = whole_suite(transport, ring_calls);
    let config = config(transport, kernel, initrd, COMMAND_LINE, &suite)?;
    let (run, report) = run_to(&End::Reset, config, LIMIT)?;
    check_calls(transport, &run)?;
    Ok(report)
}

/// device-suite's arguments for all of its cases.
pub(crate) fn whole_suite(transport: Transport, ring_calls: u64) -> String {
    let processors = available_parallelism().map_or(1, NonZero::get);
    format!(
        "--transport,{transport},--clients,/clients,\
         --host-processors,{processors},--ring-calls,{ring_calls}"
    )
}

/// The host has seen the calls that all cases of device-suite make, over this transport.
pub(crate) fn check_calls(transport: Transport, run: &Run) -> Result<(), String> {
    let mixed: u64 = run
        .record
        .mixed
        .iter()
        .map(|count| count.load(Ordering::Relaxed))
        .sum();
    let through_rings = run.record.mixed_through_rings.load(Ordering::Relaxed);
    let over = run.record.mixed_over[transport.raw() as usize].load(Ordering::Relaxed);
    let calls = run.ring_calls + calls_over(transport, &run.stats);
    if over + through_rings != mixed || run.stats.calls != calls {
        return Err(format!(
            "{mixed} MIX calls, {over} of them over {transport}, {through_rings} of {} through \
             rings; {:?}",
            run.ring_calls, run.stats
        ));
    }
    if mixed < MIXED_PER_ARITY * MIX.len() as u64 {
        return Err(format!("only {mixed} MIX calls arrived"));
    }
    if !lock(&run.record.printed).contains(&[1, 2, 3]) {
        return Err("the module's self-test did not arrive at PRINT".into());
    }
    Ok(())
}
