// SPDX-License-Identifier: MIT OR Apache-2.0
//! A unikernel that executes the other vendor's instruction, at CPL 0 or at CPL 3: an
//! exception, at once, and its text is as it was.

use crate::handlers::{lock, Arguments};
use crate::probing;
use crate::running::run;
use hcall_abi::convention::TrapInstruction;
use hcall_abi::Transport;
use hcall_ktap::{CaseResult, Suite, Verdict};
use hcall_vmm::intercept::can_disable_text_rewriting;
use hcall_vmm::vmm::{End, TransportChoice, VmConfig};
use kvm_ioctls::Kvm;
use std::path::Path;
use std::time::Duration;

/// From the VM's start to its end: a guest that faults for ever does not make it.
const LIMIT: Duration = Duration::from_secs(1);

/// What the guest puts before address and bytes of its instruction.
const BEFORE: u64 = 0;
const AFTER: u64 = 1;

pub(crate) fn add_cases<'a>(
    suite: Suite<'a>,
    guests: &Path,
    transport: Transport,
    wanted: bool,
) -> Suite<'a> {
    [0, 3].into_iter().fold(suite, |suite, cpl| {
        let guest = guests.join("wrong-vendor");
        let name = format!(
            "{transport}: the other vendor's instruction at CPL {cpl} faults, its text unchanged"
        );
        suite.case(name, move || {
            if !wanted {
                return Ok(Verdict::Skip(format!(
                    "transport '{transport}' does not work on this machine's KVM"
                )));
            }
            refused(&guest, transport, cpl)
        })
    })
}

/// What KVM makes of it, once it may not repair it: at CPL 0 what the processor says; at
/// CPL 3 its emulator, which looks first, finds VMCALL privileged, and VMMCALL not.
fn exception(native: TrapInstruction, cpl: u8) -> &'static str {
    match (other(native), cpl) {
        (TrapInstruction::Vmcall, 3) => "#GP",
        _ => "#UD",
    }
}

/// The instruction that is not `native`.
pub(crate) fn other(native: TrapInstruction) -> TrapInstruction {
    match native {
        TrapInstruction::Vmmcall => TrapInstruction::Vmcall,
        TrapInstruction::Vmcall => TrapInstruction::Vmmcall,
    }
}

/// The guest's code segment of this CPL.
fn code_selector(cpl: u8) -> u16 {
    match cpl {
        0 => 0x08,
        _ => 0x23,
    }
}

fn little_endian(instruction: TrapInstruction) -> u32 {
    let [first, second, third] = instruction.bytes();
    u32::from_le_bytes([first, second, third, 0])
}

fn refused(guest: &Path, transport: Transport, cpl: u8) -> CaseResult {
    if cpl > 0 && probing::is_software()? {
        return Ok(Verdict::Skip(
            "KVM here is a software implementation, which runs CPL 3 on the processor itself"
                .into(),
        ));
    }
    let kvm = Kvm::new().map_err(|error| format!("cannot open /dev/kvm: {error}"))?;
    let vm = kvm.create_vm().map_err(|error| error.to_string())?;
    if !can_disable_text_rewriting(&vm) {
        return Ok(Verdict::Skip(
            "this kernel has no KVM_CAP_DISABLE_QUIRKS2: KVM rewrites the instruction, and \
             the call is made"
                .into(),
        ));
    }
    let mut config = VmConfig::new(guest);
    config.transport = TransportChoice::Only(transport);
    config.command_line = cpl.to_string();
    let run = run(config, Arguments::Any, LIMIT, |_| {})?;
    let End::Panic(message) = &run.end else {
        return Err(format!("ended with {:?}, expected a panic", run.end));
    };
    let reports = lock(&run.record.printed).clone();
    let [[BEFORE, address, before], [AFTER, rip, after]] = reports[..] else {
        return Err(format!("the guest reported {reports:x?}; {message}"));
    };
    let native = probing::native_instruction()?;
    let due = u64::from(little_endian(other(native)));
    if before != due {
        return Err(format!("the guest executed {before:x}, expected {due:x}"));
    }
    if (rip, after) != (address, before) {
        return Err(format!(
            "{before:x} at {address:x} became {after:x} at {rip:x}"
        ));
    }
    let exception = exception(native, cpl);
    let place = format!("rip {address:#x}, cs {:#x},", code_selector(cpl));
    if !message.contains(exception) || !message.contains(&place) {
        return Err(format!("expected {exception} at {place} found: {message}"));
    }
    Ok(Verdict::Pass)
}
