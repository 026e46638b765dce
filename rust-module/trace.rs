// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The tracepoint `hcall:hcall_call`: whether anybody looks, and telling them.

use crate::abi::convention::Arguments;
use crate::abi::number::HypercallNumber;
use kernel::bindings;

extern "C" {
    /// The tracepoint, which the macros in `trace.c` define.
    #[cfg(CONFIG_TRACEPOINTS)]
    #[allow(improper_ctypes)] // It points to structures that may have no fields.
    static __tracepoint_hcall_call: bindings::tracepoint;

    /// In `trace.c`.
    fn hcall_trace_call(number: u32, arguments: *const u64, result: i64, duration: u64);
}

/// Whether somebody looks: a comparison with memory that hardly ever changes. The kernel
/// crate's static branch needs files of the kernel's build tree that no headers package has.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    #[cfg(CONFIG_TRACEPOINTS)]
    // SAFETY: the tracepoint is a static of this module's, and the count an aligned `int` that
    // the kernel changes atomically. Whatever is read only says whether to look closer.
    unsafe {
        (&raw const __tracepoint_hcall_call.key.key.enabled.counter).read_volatile() != 0
    }
    #[cfg(not(CONFIG_TRACEPOINTS))]
    false
}

/// Tells of a call.
pub(crate) fn tell(number: HypercallNumber, arguments: &Arguments, result: i64, duration: u64) {
    // SAFETY: the pointer is to four words, which the function only reads.
    unsafe { hcall_trace_call(number.get(), arguments.as_ptr(), result, duration) };
}

/// Nanoseconds of the monotonic clock, as they can be had in every context.
pub(crate) fn now() -> u64 {
    // SAFETY: takes no lock and can be called from anywhere.
    unsafe { bindings::ktime_get_mono_fast_ns() }
}
