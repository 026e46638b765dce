// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall0` … `hcall4` for C.

use crate::answer::{answer, HCALL_FOREIGN_NUMBER};
use sdk::HypercallNumber;

macro_rules! define_hcall {
    ($name:ident $(, $argument:ident)*) => {
        /// Makes the hypercall `number`; see `include/hcall_guest.h`.
        #[no_mangle]
        pub extern "C" fn $name(number: u32 $(, $argument: u64)*) -> i64 {
            match HypercallNumber::new(number) {
                Ok(number) => answer(sdk::$name(number $(, $argument)*)),
                Err(_) => HCALL_FOREIGN_NUMBER,
            }
        }
    };
}

define_hcall!(hcall0);
define_hcall!(hcall1, rbx);
define_hcall!(hcall2, rbx, rcx);
define_hcall!(hcall3, rbx, rcx, rdx);
define_hcall!(hcall4, rbx, rcx, rdx, rsi);
