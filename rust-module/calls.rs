// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! What `INFO`, `CALL`, `CALL_BUFFER` and `RESTRICT` do: copy in, check the copy, call, copy
//! out. `BATCH` has a file of its own.

use crate::abi::allow_list::AllowList;
use crate::abi::convention::TrapInstruction;
use crate::abi::ioctl::{self, Call, CallBuffer, Info, NumberRange, Restrict};
use crate::abi::ioctl::{BUFFER_IN, BUFFER_OUT};
use crate::buffer::LentBuffer;
use crate::device::OpenFile;
use crate::policy::Address;
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
pub(crate) fn call(file: &OpenFile, pointer: UserPtr) -> Result {
    let call: Call = user::read(pointer)?;
    if call.flags != 0 {
        return Err(EINVAL);
    }
    let number = file.admit(call.number, Address::Process)?;
    let result = host::call(file.host(), number, &call.arguments)?;
    user::write_result(pointer, offset_of!(Call, result), result)
}

/// `CALL_BUFFER`.
pub(crate) fn call_buffer(file: &OpenFile, pointer: UserPtr) -> Result {
    let mut call: CallBuffer = user::read(pointer)?;
    let index = check_buffer(&call)?;
    let number = file.admit(call.number, Address::Kernel(index))?;

    let process_buffer = UserPtr::from_addr(call.buffer as usize);
    let mut buffer = if call.flags & BUFFER_IN != 0 {
        LentBuffer::copied(process_buffer, call.length)?
    } else {
        LentBuffer::zeroed(call.length)?
    };
    if let Some([gpa, length, ..]) = call.arguments.get_mut(index..) {
        *gpa = buffer.gpa();
        *length = call.length.into();
    }

    let result = host::call(file.host(), number, &call.arguments)?;
    if call.flags & BUFFER_OUT != 0 && result >= 0 {
        buffer.copy_out(process_buffer)?;
    }
    user::write_result(pointer, offset_of!(CallBuffer, result), result)
}

/// Checks what `CALL` has not; returns the index of the argument for the GPA.
pub(crate) fn check_buffer(call: &CallBuffer) -> Result<usize> {
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

/// `RESTRICT`.
pub(crate) fn restrict(file: &OpenFile, pointer: UserPtr) -> Result {
    let restrict: Restrict = user::read(pointer)?;
    let (used, unused) = restrict
        .ranges
        .split_at_checked(restrict.count as usize)
        .ok_or(EINVAL)?;
    let is_zero = |range: &NumberRange| *range == NumberRange::default();
    if restrict.reserved != 0 || !unused.iter().all(is_zero) {
        return Err(EINVAL);
    }
    let list = AllowList::new(used).map_err(|_| EINVAL)?;
    file.restriction().narrow(list)
}
