// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! Other modules of the kernel as callers. They are trusted: no policy applies but that a
//! number must be one that can reach a host.

use crate::abi::convention::Arguments;
use crate::abi::number::HypercallNumber;
use crate::host;
use kernel::prelude::*;

/// What `hcall0` to `hcall4` of `include/linux/hcall.h` do: 0 if the call was made, and its
/// answer in `result`.
///
/// # Safety
///
/// `arguments` must point to four words that can be read, `result` to one that can be
/// written. What the call makes the host do to memory must be sound for the caller.
#[no_mangle]
unsafe extern "C" fn hcall_in_kernel(
    number: u32,
    arguments: *const Arguments,
    result: *mut i64,
) -> c_int {
    // SAFETY: the caller's promise.
    match call(number, unsafe { &*arguments }) {
        Ok(answer) => {
            // SAFETY: the caller's promise.
            unsafe { result.write(answer) };
            0
        }
        Err(error) => error.to_errno(),
    }
}

fn call(number: u32, arguments: &Arguments) -> Result<i64> {
    let number = HypercallNumber::new(number).map_err(|_| EINVAL)?;
    host::call(host::attached()?, number, arguments)
}
