// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The module parameters. `value()` returns a reference up to 7.2 and a copy from 7.3 on.

use crate::abi::allow_list::AllowList;
use crate::module_parameters;
use core::borrow::Borrow;
use core::ffi::CStr;
use kernel::prelude::*;

extern "C" {
    /// In `parameters.c`: the text of the parameter `allow`, null if it was not given.
    fn hcall_parameter_allow() -> *const c_char;
}

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

/// What a newly opened file may call.
pub(crate) fn allow() -> Result<AllowList> {
    // SAFETY: only reads the parameter, which does not change once the module loads.
    let text = unsafe { hcall_parameter_allow() };
    if text.is_null() {
        return Ok(AllowList::EVERYTHING);
    }
    // SAFETY: a string of the kernel's, which lives as long as the module.
    let text = unsafe { CStr::from_ptr(text.cast()) };
    let parsed = text.to_str().map(str::parse::<AllowList>);
    match parsed {
        Ok(Ok(list)) => Ok(list),
        Ok(Err(error)) => {
            pr_err!("allow: {}\n", format_args!("{error}"));
            Err(EINVAL)
        }
        Err(_) => {
            pr_err!("allow: not UTF-8\n");
            Err(EINVAL)
        }
    }
}

fn copied<T: Copy>(value: impl Borrow<T>) -> T {
    *value.borrow()
}
