// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! Which calls a process may have made, and with whose memory.

use crate::abi::allow_list::AllowList;
use crate::abi::number::HypercallNumber;
use crate::parameters;
use kernel::bindings;
use kernel::prelude::*;
use kernel::sync::SetOnce;

/// What a file may call when it is opened. Set by [`start`], unless that is everything.
static DEFAULT: SetOnce<AllowList> = SetOnce::new();

/// Where the guest-physical address of a call comes from.
#[derive(Clone, Copy)]
pub(crate) enum Address {
    /// From the process, if the call has one at all.
    Process,
    /// From the kernel, which puts its own into the argument with this index.
    Kernel(usize),
}

/// Reads the module parameter `allow`; before the device exists. Fails with `EINVAL` and one
/// line in the kernel log if it makes no sense.
pub(crate) fn start() -> Result {
    let allowed = parameters::allow()?;
    if allowed != AllowList::EVERYTHING {
        DEFAULT.populate(allowed);
    }
    Ok(())
}

/// What a file may call when it is opened; `None` if that is everything.
pub(crate) fn default_list() -> Option<&'static AllowList> {
    DEFAULT.as_ref()
}

/// Admits a number that the open file may call, or fails with `EPERM`. What the calls of a
/// VMM's own mean by their arguments is between that VMM and the process.
#[inline]
pub(crate) fn admit(number: HypercallNumber, address: Address) -> Result {
    // One test of a bit: nearly every call is neither.
    if number.takes_gpa() || number.ends_the_vm() {
        return admit_special(number, address);
    }
    Ok(())
}

/// A core call may name guest memory only where the kernel filled in the address, unless the
/// module parameter `allow_raw_gpa` is set. Who ends the VM must be allowed to reboot it.
#[cold]
fn admit_special(number: HypercallNumber, address: Address) -> Result {
    if number.takes_gpa() && !filled_in_by_kernel(number, address) && !parameters::allow_raw_gpa() {
        return Err(EPERM);
    }
    if number.ends_the_vm() && !may_reboot() {
        return Err(EPERM);
    }
    Ok(())
}

fn filled_in_by_kernel(number: HypercallNumber, address: Address) -> bool {
    match address {
        Address::Process => false,
        Address::Kernel(index) => number.gpa_index() == Some(index),
    }
}

/// Whether the calling task has `CAP_SYS_BOOT` in the initial user namespace: the root of a
/// container does not.
fn may_reboot() -> bool {
    // SAFETY: asks about the current task, in whose context requests are served.
    unsafe { bindings::capable(bindings::CAP_SYS_BOOT as c_int) }
}
