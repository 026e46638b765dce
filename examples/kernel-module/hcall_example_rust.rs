// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The same in Rust: a module of the kernel that asks the host for a sum when it is loaded.

use kernel::error::to_result;
use kernel::prelude::*;

extern "C" {
    /// Of `hcall.ko`, as `linux/hcall.h` declares it.
    fn hcall2(number: u32, arg0: u64, arg1: u64, result: *mut i64) -> c_int;
}

/// The call to make.
const SUM: u32 = 0x4843_8001;

module! {
    type: Example,
    name: "hcall_example_rust",
    authors: ["The hcall developers"],
    description: "A hypercall from a module of the kernel, in Rust",
    license: "GPL",
    params: {
        number: u32 {
            default: crate::SUM,
            description: "The hypercall to make with 2 and 40",
        },
    },
}

struct Example;

impl kernel::Module for Example {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let number = *core::borrow::Borrow::borrow(&module_parameters::number.value());
        let mut sum = 0;
        // SAFETY: the arguments name no memory, and `sum` is this function's to be written.
        to_result(unsafe { hcall2(number, 2, 40, &raw mut sum) })?;
        if sum < 0 {
            pr_err!("hcall2({number:#x}, 2, 40): the host answered {sum}\n");
            return Err(EIO);
        }
        pr_info!("hcall2({number:#x}, 2, 40) = {sum}\n");
        Ok(Self)
    }
}
