// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The module parameters. `value()` returns a reference up to 7.2 and a copy from 7.3 on.

use crate::module_parameters;
use core::borrow::Borrow;

/// The hypercall to make at load time; 0 for none.
pub(crate) fn selftest() -> u32 {
    copied(module_parameters::selftest.value())
}

/// Whether processes may pass guest-physical addresses to core calls.
pub(crate) fn allow_raw_gpa() -> bool {
    let value: u8 = copied(module_parameters::allow_raw_gpa.value());
    value != 0
}

/// The global system interrupt for rings; 0 for none.
pub(crate) fn ring_irq() -> u32 {
    copied(module_parameters::ring_irq.value())
}

/// Whether statistics are on from the start.
pub(crate) fn statistics() -> bool {
    let value: u8 = copied(module_parameters::statistics.value());
    value != 0
}

fn copied<T: Copy>(value: impl Borrow<T>) -> T {
    *value.borrow()
}
