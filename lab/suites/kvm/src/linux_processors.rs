// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux as a guest on several vCPUs, and what becomes of it where KVM's hypercalls are
//! taken from it and it is not told so.

use crate::handlers::Arguments;
use crate::linux::{config, run_to, LIMIT};
use crate::running::{run, Run};
use hcall_abi::Transport;
use hcall_ktap::{CaseResult, Report, Suite, Verdict};
use hcall_lab_contract::CALLS_PER_PROCESSOR;
use hcall_vmm::vmm::{End, KvmFeatures, VcpuCount, Vm, VmConfig};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

const VCPUS: u8 = 4;

/// `noxsave`: XSAVE set-up of a nested guest panics under some emulators.
const COMMON: &str = "console=ttyS0 panic=-1 noxsave lab.name=GUEST";

/// What init says first, by the name that [`COMMON`] gives it.
const INIT_STARTS: &str = "GUEST-INIT Linux";

/// What Linux says of an interrupt to another CPU that KVM has not sent (`__send_ipi_mask` of
/// `arch/x86/kernel/kvm.c`).
const INTERRUPT_LOST: &str = "kvm-guest: failed to send PV IPI";

/// How long a guest may go on that has lost IPIs: from there to its init a sound one takes
/// a third of it.
const GRACE: Duration = Duration::from_secs(20);

/// A boot of the guest.
struct Boot {
    transport: Transport,
    name: &'static str,
    image: &'static str,
    /// How the guest is to end, and what says so on its command line.
    end: (End, &'static str),
}

/// The ways to boot, and the ways to end: both are by ACPI.
static BOOTS: [Boot; 2] = [
    Boot {
        transport: Transport::Instruction,
        name: "vmlinux by PVH",
        image: "vmlinux",
        end: (End::PowerOff, "poweroff"),
    },
    Boot {
        transport: Transport::Port,
        name: "bzImage",
        image: "vmlinuz",
        end: (End::Reset, "reset"),
    },
];

pub(crate) fn add_cases<'a>(mut suite: Suite<'a>, directory: &Path) -> Suite<'a> {
    let initrd = directory.join("initrd");
    for boot in &BOOTS {
        let (kernel, initrd) = (directory.join(boot.image), initrd.clone());
        suite = suite.case_with_subtests(
            format!("{}: Linux on {VCPUS} vCPUs ({})", boot.transport, boot.name),
            move || works(boot, &kernel, &initrd),
        );
    }
    let kernel: PathBuf = directory.join("vmlinux");
    suite.case(
        "instruction: Linux that is shown all of KVM's features loses its IPIs",
        move || loses_interrupts(&kernel, &initrd),
    )
}

fn works(boot: &Boot, kernel: &Path, initrd: &Path) -> Result<Report, String> {
    let transport = boot.transport;
    let (end, word) = &boot.end;
    let command_line = format!("{COMMON} loglevel=1 lab.end={word}");
    let suite = format!("--transport,{transport},--processors,{VCPUS}");
    let config = on_several(config(transport, kernel, initrd, &command_line, &suite)?)?;
    let (run, report) = run_to(end, config, LIMIT)?;
    let by_vcpu = run.record.mixed_by_vcpu();
    let due = (0..VCPUS.into()).map(|vcpu| (vcpu, CALLS_PER_PROCESSOR));
    if !by_vcpu.iter().map(|(vcpu, calls)| (*vcpu, *calls)).eq(due) {
        return Err(format!(
            "calls of MIX by vCPU: {by_vcpu:?}; due are {CALLS_PER_PROCESSOR} from each of {VCPUS}"
        ));
    }
    Ok(report)
}

fn on_several(mut config: VmConfig) -> Result<VmConfig, String> {
    config.vcpus = VcpuCount::new(VCPUS).map_err(|error| error.to_string())?;
    Ok(config)
}

/// KVM's own features make hypercalls, and under interception KVM does not get them.
fn loses_interrupts(kernel: &Path, initrd: &Path) -> CaseResult {
    let transport = Transport::Instruction;
    let command_line = format!("{COMMON} loglevel=7 lab.end=reset");
    let suite = format!("--transport,{transport},--processors,{VCPUS}");
    let mut config = on_several(config(transport, kernel, initrd, &command_line, &suite)?)?;
    config.kvm_features = KvmFeatures::All;
    let run = run(config, Arguments::Any, LIMIT, stop_after_first_call)?;
    // With loglevel=7 it says what it did until then.
    let result = lost(&run);
    if result.is_err() {
        for line in run.console.lines() {
            println!("# L2| {line}");
        }
    }
    result.map(|()| Verdict::Pass)
}

/// The guest called KVM, was refused by the VMM, and lost what it wanted to send: usually it
/// then stands still. Whether it can say so depends on whether the CPU that prints is one of
/// those that wait; now and then it gets further, and then it has said so.
fn lost(run: &Run) -> Result<(), String> {
    run.expect_end(&End::Stopped)?;
    if run.console.contains(INIT_STARTS) && !run.console.contains(INTERRUPT_LOST) {
        return Err("the guest reached its init and has lost nothing".into());
    }
    if run.stats.calls == 0 {
        return Err(format!("the guest made no hypercall in {LIMIT:?}"));
    }
    Ok(())
}

/// Stops the VM [`GRACE`] after its first hypercall, which is one for KVM: the module, that
/// makes others, is loaded by init.
fn stop_after_first_call(vm: &Vm) {
    let (counters, stopper) = (vm.counters(), vm.stopper());
    thread::spawn(move || {
        let start = Instant::now();
        while counters.read().calls == 0 && start.elapsed() < LIMIT {
            thread::sleep(Duration::from_millis(100));
        }
        thread::sleep(GRACE);
        stopper.stop();
    });
}
