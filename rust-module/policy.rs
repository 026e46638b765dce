// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! Which calls a process may have made, and with whose memory.

use crate::abi::number::HypercallNumber;
use crate::parameters;
use kernel::prelude::*;

/// Where the guest-physical address of a call comes from.
#[derive(Clone, Copy)]
pub(crate) enum Address {
    /// From the process, if the call has one at all.
    Process,
    /// From the kernel, which puts its own into the argument with this index.
    Kernel(usize),
}

/// Admits a number, or fails with `EPERM`.
///
/// A core call may name guest memory only where the kernel filled in the address, unless
/// the module parameter `allow_raw_gpa` is set. What the calls of a VMM's own mean by
/// their arguments is between that VMM and the process.
pub(crate) fn admit(number: u32, address: Address) -> Result<HypercallNumber> {
    let number = HypercallNumber::new(number).map_err(|_| EPERM)?;
    if number.takes_gpa() && !filled_in_by_kernel(number, address) && !parameters::allow_raw_gpa() {
        return Err(EPERM);
    }
    Ok(number)
}

fn filled_in_by_kernel(number: HypercallNumber, address: Address) -> bool {
    match address {
        Address::Process => false,
        Address::Kernel(index) => number.gpa_index() == Some(index),
    }
}
