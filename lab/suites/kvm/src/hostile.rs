// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux as a guest whose processes are hostile: what arrives here is looked at, and nothing
//! that the module must refuse may be among it.

use crate::handlers::{lock, Arguments};
use crate::linux::{config, judge};
use crate::running::{run, Run};
use hcall_abi::number::{CONSOLE_WRITE, EXIT, PANIC, RANDOM};
use hcall_abi::{Gpa, HypercallNumber, Transport};
use hcall_ktap::{Report, Suite};
use hcall_lab_contract::{FILL, FORBIDDEN, FORBIDDEN_SEEN};
use hcall_vmm::vmm::{End, VcpuCount, Vm, VmConfig};
use hcall_vmm::Hypercall;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Of a boot and a million requests, on busy cores.
const LIMIT: Duration = Duration::from_secs(1500);

/// Two CPUs, so that one changes what the other reads.
const VCPUS: u8 = 2;

/// `noxsave`: XSAVE set-up of a nested guest panics under some emulators. Of the log only what
/// tells of something wrong is wanted.
const COMMAND_LINE: &str =
    "console=ttyS0 panic=-1 reboot=k noxsave cryptomgr.notests loglevel=1 lab.end=reset";

/// For every so many hostile requests, one of each kind where it is about leaks.
const LEAK_CALLS: u64 = 10;

const PAGE: u64 = 4096;
/// The longest buffer that the module lends.
const LONGEST: u64 = 64 << 10;

/// What the guest's suite itself has called, to see that it is watched.
const CONTROL: [(HypercallNumber, u64); 2] = [(FORBIDDEN, 0), (EXIT, 42)];

/// What arrived and is of interest.
#[derive(Debug, Default)]
struct Watch {
    /// Numbers that no hostile process may get through, with their first arguments.
    forbidden: Mutex<Vec<(HypercallNumber, u64)>>,
    /// The first buffer that the module cannot have lent.
    misfit: Mutex<Option<String>>,
    /// Buffers of the module's.
    buffers: Mutex<u64>,
}

pub(crate) fn add_case<'a>(
    suite: Suite<'a>,
    directory: &Path,
    requests: u64,
    seed: Option<u64>,
) -> Suite<'a> {
    let kernel = directory.join("vmlinux");
    let initrd = directory.join("initrd");
    suite.case_with_subtests(
        format!("instruction: {requests} hostile requests in stock Linux"),
        move || {
            let suite = suite_arguments(requests, seed);
            let transport = Transport::Instruction;
            let config = config(transport, &kernel, &initrd, COMMAND_LINE, &suite)?;
            attacked(config, requests, LIMIT).map(|(_, report)| report)
        },
    )
}

/// device-suite's arguments for so many hostile requests.
pub(crate) fn suite_arguments(requests: u64, seed: Option<u64>) -> String {
    let mut suite = format!(
        "--hostile,{requests},--leak-calls,{}",
        requests / LEAK_CALLS
    );
    if let Some(seed) = seed {
        suite.push_str(&format!(",--seed,{seed}"));
    }
    suite
}

/// Runs a guest that makes so many hostile requests, and judges it from both sides.
pub(crate) fn attacked(
    mut config: VmConfig,
    requests: u64,
    limit: Duration,
) -> Result<(Run, Report), String> {
    config.vcpus = VcpuCount::new(VCPUS).map_err(|error| error.to_string())?;
    let watch = Arc::new(Watch::default());
    let mut unusable = None;
    let run = run(config, Arguments::Any, limit, |vm| {
        watch.look(vm);
        unusable = Some(vm.counters());
    })?;
    for line in run.console.lines().filter(|line| line.starts_with("# ")) {
        println!("{line}");
    }
    let (run, report) = judge(&End::Reset, run)?;
    let unusable = unusable.map_or(u64::MAX, |counters| counters.unusable());
    watch.judge(&run, unusable, requests)?;
    Ok((run, report))
}

impl Watch {
    /// Puts itself in the place of the handlers in question. Those that would end the VM do
    /// not, so that what comes after them is seen as well.
    fn look(self: &Arc<Self>, vm: &Vm) {
        let table = vm.hypercalls();
        for number in [EXIT, PANIC, FILL] {
            let watch = Arc::clone(self);
            let replaced = table.replace(number, move |call: &mut Hypercall<'_>| {
                watch.count(number, call.arg::<0>());
                Ok(0)
            });
            replaced.expect("core and test calls are registered");
        }
        let watch = Arc::clone(self);
        let registered = table.register(FORBIDDEN, move |call: &mut Hypercall<'_>| {
            watch.count(FORBIDDEN, call.arg::<0>());
            Ok(0)
        });
        registered.expect("the number is free");
        let watch = Arc::clone(self);
        let registered = table.register(FORBIDDEN_SEEN, move |_: &mut Hypercall<'_>| {
            Ok(lock(&watch.forbidden).len() as u64)
        });
        registered.expect("the number is free");
        for number in [CONSOLE_WRITE, RANDOM] {
            let watch = Arc::clone(self);
            let replaced = table.replace(number, move |call: &mut Hypercall<'_>| {
                let [gpa, length, ..] = call.args();
                watch.check_buffer(number, gpa, length);
                // Noise on the console would be no report.
                if number == RANDOM && length <= LONGEST {
                    call.memory()
                        .write(Gpa::new(gpa), &vec![0x5a; length as usize])?;
                }
                Ok(length)
            });
            replaced.expect("core calls are registered");
        }
    }

    fn count(&self, number: HypercallNumber, argument: u64) {
        lock(&self.forbidden).push((number, argument));
    }

    /// A buffer of the module's is whole pages; one of a process's invention hardly is.
    fn check_buffer(&self, number: HypercallNumber, gpa: u64, length: u64) {
        *lock(&self.buffers) += 1;
        if gpa % PAGE != 0 || length > LONGEST {
            lock(&self.misfit)
                .get_or_insert_with(|| format!("{number}: {length} bytes at {gpa:#x}"));
        }
    }

    fn judge(&self, run: &Run, unusable: u64, requests: u64) -> Result<(), String> {
        let forbidden = lock(&self.forbidden);
        if *forbidden != CONTROL {
            return Err(format!("forbidden calls arrived: {forbidden:x?}"));
        }
        if unusable != 0 {
            return Err(format!(
                "{unusable} calls arrived with numbers of KVM, Xen or Hyper-V"
            ));
        }
        if let Some(misfit) = lock(&self.misfit).as_ref() {
            return Err(format!(
                "a buffer arrived that the module has not lent: {misfit}"
            ));
        }
        let (calls, buffers) = (run.stats.calls, *lock(&self.buffers));
        println!(
            "# {calls} calls arrived, {} of them through rings, {buffers} with buffers",
            run.ring_calls
        );
        if calls < requests / 50 || buffers < requests / 1000 {
            return Err(format!(
                "of {requests} requests too few arrived: {:?}",
                run.stats
            ));
        }
        Ok(())
    }
}
