// SPDX-License-Identifier: MIT OR Apache-2.0
//! `INFO` against what the process itself reads from CPUID.

use crate::failure::{equal, passes, Check, Failure};
use hcall_guest::abi::convention::TrapInstruction;
use hcall_guest::abi::cpuid::{Advertisement, CpuidRegisters};
use hcall_guest::abi::ioctl::{INSTRUCTION_NONE, INSTRUCTION_VMCALL, INSTRUCTION_VMMCALL};
use hcall_guest::abi::{Transport, ABI_VERSION};
use hcall_guest::device::Device;
use hcall_ktap::Suite;

pub(super) fn add(suite: Suite<'_>, transport: Transport) -> Suite<'_> {
    suite
        .case("INFO names version, transport and instruction", move || {
            passes(what_is_used(transport))
        })
        .case("INFO repeats what CPUID says", || passes(what_is_offered()))
}

fn what_is_used(transport: Transport) -> Check {
    let device = Device::open()?;
    let info = device.info();
    equal("ABI version", info.abi_version, ABI_VERSION.get())?;
    equal(
        "transport",
        Transport::from_raw(info.transport),
        Some(transport),
    )?;
    let instruction = match transport {
        Transport::Port => INSTRUCTION_NONE,
        _ => match TrapInstruction::for_vendor(cpuid(0).vendor()) {
            Some(TrapInstruction::Vmmcall) => INSTRUCTION_VMMCALL,
            Some(TrapInstruction::Vmcall) => INSTRUCTION_VMCALL,
            None => return Err(Failure::new("CPUID shows an unknown vendor")),
        },
    };
    equal("instruction", info.instruction, instruction)?;
    equal("reserved", info.reserved, [0; 7])
}

fn what_is_offered() -> Check {
    let device = Device::open()?;
    let info = device.info();
    let (base, host) =
        Advertisement::find(cpuid).ok_or_else(|| Failure::new("CPUID shows no hcall host"))?;
    equal("CPUID base", info.cpuid_base, base)?;
    equal("offered", info.transports_offered, host.transports.bits())?;
    equal("features", info.features, host.features.bits())?;
    equal("batch", info.batch_entries, host.limits.batch_entries)?;
    equal("ring", info.ring_entries, host.limits.ring_entries)?;
    equal("buffer", info.buffer_bytes, host.limits.buffer_bytes)
}

fn cpuid(leaf: u32) -> CpuidRegisters {
    // `__cpuid` is unsafe at the minimum Rust version and safe in later ones.
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 processor has CPUID, and it touches no memory.
    let registers = unsafe { std::arch::x86_64::__cpuid(leaf) };
    CpuidRegisters {
        eax: registers.eax,
        ebx: registers.ebx,
        ecx: registers.ecx,
        edx: registers.edx,
    }
}
