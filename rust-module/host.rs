// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The host: found once at load time, called from then on.

use crate::abi::convention::{Arguments, TrapInstruction};
use crate::abi::errno::Errno;
use crate::abi::number::{HypercallNumber, PROBE};
use crate::abi::version::PROBE_RESULT;
use crate::sdk::detect::Host;
use crate::sdk::{x86_64, REFUSED_TRAP};
use crate::trace;
use kernel::prelude::*;
use kernel::sync::SetOnce;

/// Set by [`attach`] before the device exists, and never changed.
static HOST: SetOnce<Host> = SetOnce::new();

/// The host that [`attach`] found.
pub(crate) fn attached() -> Result<&'static Host> {
    HOST.as_ref().ok_or(ENODEV)
}

/// Looks for the host in CPUID; nothing that could trap is executed before it was seen.
pub(crate) fn detect() -> Result<Host> {
    Host::detect(x86_64::cpuid).map_err(|error| {
        pr_err!("{}\n", format_args!("{error}"));
        ENODEV
    })
}

/// Makes the first call, and keeps the host if the answer is the ABI's.
pub(crate) fn attach(host: Host) -> Result<&'static Host> {
    let Ok(answer) = call(&host, PROBE, &[0; 4]) else {
        let name = instruction_name(&host);
        pr_err!("the processor refuses {name}, which the host offers: no call can be made\n");
        return Err(ENODEV);
    };
    if answer != PROBE_RESULT as i64 {
        pr_err!("PROBE gave {answer:#x} where {PROBE_RESULT:#x} was due: not an hcall host\n");
        return Err(ENODEV);
    }
    HOST.populate(host);
    attached()
}

/// One line on who is there and how it is reached.
pub(crate) fn announce(host: &Host) {
    pr_info!(
        "ABI version {}, transport {}, instruction {}\n",
        host.advertisement.abi_version.get(),
        host.trap.transport().name(),
        instruction_name(host)
    );
}

fn instruction_name(host: &Host) -> &'static str {
    host.trap.instruction().map_or("OUT", TrapInstruction::name)
}

/// Makes a call and returns rax as the host left it. Every call of this module is made here,
/// so that the tracepoint sees them all.
///
/// Fails with `EOPNOTSUPP` if the processor refused the trap. No lock is held: calls run
/// on as many CPUs as make them.
#[inline(always)] // Outlined, a process's call costs some twenty instructions more.
pub(crate) fn call(host: &Host, number: HypercallNumber, arguments: &Arguments) -> Result<i64> {
    let answer = if trace::is_on() {
        let [arg0, arg1, arg2, arg3] = *arguments;
        traced(host, number, arg0, arg1, arg2, arg3)
    } else {
        trap(host, number, arguments)
    };
    if answer == REFUSED_TRAP {
        return Err(not_supported());
    }
    Ok(answer)
}

/// `EOPNOTSUPP`, which the kernel crate has from 7.3 on.
pub(crate) fn not_supported() -> Error {
    Error::from_errno(-i32::from(Errno::EOPNOTSUPP.get()))
}

/// Makes a call, and tells of it whoever looks.
///
/// Of its own, and given words and not their address, so that callers are as short, and have
/// the arguments in registers, as if nobody ever did.
#[cold]
#[inline(never)]
fn traced(
    host: &Host,
    number: HypercallNumber,
    arg0: u64,
    arg1: u64,
    arg2: u64,
    arg3: u64,
) -> i64 {
    let arguments = [arg0, arg1, arg2, arg3];
    let begin = trace::now();
    let answer = trap(host, number, &arguments);
    let duration = trace::now().saturating_sub(begin);
    trace::tell(number, &arguments, answer, duration);
    answer
}

#[inline(always)]
fn trap(host: &Host, number: HypercallNumber, arguments: &Arguments) -> i64 {
    // SAFETY: `host` was detected on this machine, and a refused trap is caught by the
    // exception table. What the host does to memory on behalf of the call is confined to
    // what `policy` admits – kernel memory only as `buffer` lends it – or is what another
    // module of the kernel asked for.
    unsafe { x86_64::trap(host.trap, number.get(), *arguments) }
}
