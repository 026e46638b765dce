// SPDX-License-Identifier: MIT OR Apache-2.0
//! The architecture: the instructions that trap, CPUID and the current privilege level.

use crate::detect::Trap;
use hcall_abi as abi;
use hcall_abi::convention::Arguments;

/// What a trap does when the processor refuses its instruction: nothing here, since a
/// unikernel reports the exception. The Linux module puts an exception-table entry in
/// this place and compiles the same file.
#[cfg(target_arch = "x86_64")]
macro_rules! trap_fixup {
    () => {
        ""
    };
}

mod port;
pub(crate) use port::write_port;

cfg_if::cfg_if! {
    if #[cfg(target_arch = "x86_64")] {
        mod x86_64;
        pub(crate) use x86_64::{cpuid, current_privilege_level, trap};
        pub use x86_64::{carrier_vmcall, carrier_vmmcall, port_out, vmcall, vmmcall};
    } else if #[cfg(target_arch = "x86")] {
        mod x86;
        pub(crate) use x86::{cpuid, current_privilege_level, trap};
        pub use x86::{port_out, vmcall, vmmcall};
    } else {
        compile_error!("hcall-guest has no hypercall instructions for this architecture; it supports x86_64 and x86");
    }
}

/// The first argument that this architecture's registers cannot hold.
#[inline]
pub(crate) fn too_wide(arguments: &Arguments) -> Option<u64> {
    // Where they hold all, nothing is left of this.
    if usize::BITS >= u64::BITS {
        return None;
    }
    arguments
        .iter()
        .copied()
        .find(|argument| usize::try_from(*argument).is_err())
}
