// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loading: with a host, and without one.

use crate::context::Context;
use crate::failure::{equal, passes, Check};
use crate::Refusal;
use hcall_guest::abi::convention::TrapInstruction;
use hcall_guest::abi::cpuid::CpuidRegisters;
use hcall_guest::abi::ioctl::{DEVICE_MODE, DEVICE_PATH};
use hcall_guest::abi::transport::PORT;
use hcall_guest::abi::Transport;
use hcall_ktap::Suite;
use rustix::io::Errno;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

pub(super) fn add<'a>(suite: Suite<'a>, context: &'a Context, transport: Transport) -> Suite<'a> {
    suite
        .case("the module loads", || passes(loads(context)))
        .case("it names the transport in one line", move || {
            passes(announces(context, transport))
        })
        .case("the node is root's, mode 0600", || passes(node()))
        .case("the port is requested exactly if it is used", move || {
            passes(port_region(transport))
        })
        .case("loading it twice fails with EEXIST", || {
            passes(loads_once(context))
        })
}

pub(super) fn loads(context: &Context) -> Check {
    crate::module::ensure_absent()?;
    context.module.load("")
}

fn announces(context: &Context, transport: Transport) -> Check {
    let lines = context.log.borrow_mut().of_module()?;
    equal("lines of the module", lines.len(), 1)?;
    let start = format!("ABI version 1, transport {transport}, instruction ");
    equal(&lines[0], lines[0].starts_with(&start), true)
}

fn node() -> Check {
    let node = std::fs::metadata(DEVICE_PATH)?;
    equal("character device", node.file_type().is_char_device(), true)?;
    equal("permissions", node.mode() & 0o7777, DEVICE_MODE)?;
    equal("owner", (node.uid(), node.gid()), (0, 0))
}

fn port_region(transport: Transport) -> Check {
    let regions = std::fs::read_to_string("/proc/ioports")?;
    let region = format!("{PORT:04x}-{:04x} : hcall", PORT + 3);
    let requested = regions.lines().any(|line| line.trim() == region);
    equal(region, requested, transport == Transport::Port)
}

fn loads_once(context: &Context) -> Check {
    let second = context.module.try_load("")?;
    equal("the second finit_module", second, Err(Errno::EXIST))
}

/// Where it cannot be loaded.
pub(super) fn refuses(context: &Context) -> Check {
    let loaded = context.module.try_load("")?;
    equal("finit_module", loaded, Err(Errno::NODEV))
}

/// After [`refuses`].
pub(super) fn one_line(context: &Context, refusal: Refusal) -> Check {
    let lines = context.log.borrow_mut().of_module()?;
    let due = match refusal {
        Refusal::NoHost => {
            "no hcall host: CPUID shows no hypervisor with the hcall signature".to_owned()
        }
        Refusal::RefusedTrap => format!(
            "the processor refuses {}, which the host offers: no call can be made",
            shown_instruction().map_or("nothing known", TrapInstruction::name)
        ),
        Refusal::NoTransport => {
            "the host offers no transport that this guest can use (offered: 0x0)".to_owned()
        }
    };
    equal("lines of the module", lines, vec![due])
}

/// The instruction of the vendor that CPUID shows.
fn shown_instruction() -> Option<TrapInstruction> {
    // `__cpuid` is unsafe at the minimum Rust version and safe in later ones.
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 processor has CPUID, and it touches no memory.
    let registers = unsafe { core::arch::x86_64::__cpuid(0) };
    let registers = CpuidRegisters {
        eax: registers.eax,
        ebx: registers.ebx,
        ecx: registers.ecx,
        edx: registers.edx,
    };
    TrapInstruction::for_vendor(registers.vendor())
}
