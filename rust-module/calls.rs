// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! What `INFO`, `CALL` and `CALL_BUFFER` do: copy in, check the copy, call, copy out.

use crate::abi::convention::TrapInstruction;
use crate::abi::ioctl::{self, Call, CallBuffer, Info, BUFFER_IN, BUFFER_OUT};
use crate::buffer::LentBuffer;
use crate::policy::{self, Address};
use crate::sdk::detect::Host;
use crate::{host, user};
use core::mem::offset_of;
use kernel::prelude::*;

/// `INFO`.
pub(crate) fn info(host: &Host, pointer: UserPtr) -> Result {
    let offered = &host.advertisement;
    let instruction = match host.trap.instruction() {
        Some(TrapInstruction::Vmmcall) => ioctl::INSTRUCTION_VMMCALL,
        Some(TrapInstruction::Vmcall) => ioctl::INSTRUCTION_VMCALL,
        None => ioctl::INSTRUCTION_NONE,
    };
    let info = Info {
        abi_version: offered.abi_version.get(),
        transport: host.trap.transport().raw(),
        transports_offered: offered.transports.bits(),
        features: offered.features.bits(),
        cpuid_base: host.cpuid_base,
        instruction,
        batch_entries: offered.limits.batch_entries,
        ring_entries: offered.limits.ring_entries,
        buffer_bytes: offered.limits.buffer_bytes,
        reserved: [0; 7],
    };
    user::write(pointer, &info)
}

/// `CALL`.
pub(crate) fn call(host: &Host, pointer: UserPtr) -> Result {
    let call: Call = user::read(pointer)?;
    if call.flags != 0 {
        return Err(EINVAL);
    }
    let number = policy::admit(call.number, Address::Process)?;
    let result = host::call(host, number, call.arguments)?;
    user::write_result(pointer, offset_of!(Call, result), result)
}

/// `CALL_BUFFER`.
pub(crate) fn call_buffer(host: &Host, pointer: UserPtr) -> Result {
    let mut call: CallBuffer = user::read(pointer)?;
    let index = check_buffer(&call)?;
    let number = policy::admit(call.number, Address::Kernel(index))?;

    let process_buffer = UserPtr::from_addr(call.buffer as usize);
    let mut buffer = LentBuffer::zeroed(call.length)?;
    if call.flags & BUFFER_IN != 0 {
        buffer.copy_in(process_buffer)?;
    }
    if let Some([gpa, length, ..]) = call.arguments.get_mut(index..) {
        *gpa = buffer.gpa();
        *length = call.length.into();
    }

    let result = host::call(host, number, call.arguments)?;
    if call.flags & BUFFER_OUT != 0 && result >= 0 {
        buffer.copy_out(process_buffer)?;
    }
    user::write_result(pointer, offset_of!(CallBuffer, result), result)
}

/// Checks what `CALL` has not; returns the index of the argument for the GPA.
fn check_buffer(call: &CallBuffer) -> Result<usize> {
    const KNOWN: u32 = BUFFER_IN | BUFFER_OUT;
    if call.flags & KNOWN == 0 || call.flags & !KNOWN != 0 || call.length > ioctl::BUFFER_MAX {
        return Err(EINVAL);
    }
    let index = call.gpa_index as usize;
    match call.arguments.get(index..) {
        Some([0, 0, ..]) => Ok(index),
        _ => Err(EINVAL),
    }
}
