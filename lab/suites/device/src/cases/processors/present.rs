// SPDX-License-Identifier: MIT OR Apache-2.0
//! The processors are there, as the host numbered them.

use super::on_each;
use crate::failure::{equal, Check};
use crate::kernel_log::since_boot;
use hcall_guest::abi::Transport;
use rustix::thread::sched_getcpu;

/// What Linux says of itself when it sends IPIs to several processors by a hypercall.
const BY_HYPERCALL: &str = "kvm-guest: setup PV IPIs";

pub(super) fn online(count: usize) -> Check {
    // The last are those in the package of the first.
    for list in ["present", "online", "cpu0/topology/package_cpus_list"] {
        let path = format!("/sys/devices/system/cpu/{list}");
        let found = std::fs::read_to_string(&path)?;
        let due = format!("0-{}", count - 1);
        equal(path, found.trim(), &due)?;
    }
    let processors = std::thread::available_parallelism()?.get();
    equal("processors that this process may use", processors, count)
}

/// A thread that is to run on a processor does, and its APIC has the processor's number.
pub(super) fn numbered(count: usize) -> Check {
    on_each(count, |processor| {
        equal("sched_getcpu", sched_getcpu(), processor)?;
        equal("APIC id", apic_id(), processor)
    })
}

/// The initial APIC id in CPUID.
fn apic_id() -> usize {
    const FEATURES: u32 = 1;
    // `__cpuid` is unsafe at the minimum Rust version and safe in later ones.
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 processor has CPUID, and it touches no memory.
    let registers = unsafe { core::arch::x86_64::__cpuid(FEATURES) };
    (registers.ebx >> 24) as usize
}

pub(super) fn sends_by_hypercall(transport: Transport) -> Check {
    let log = since_boot()?;
    let found = log.iter().any(|line| line.contains(BY_HYPERCALL));
    equal(BY_HYPERCALL, found, transport != Transport::Instruction)
}
