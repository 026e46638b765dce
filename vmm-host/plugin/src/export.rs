// SPDX-License-Identifier: MIT OR Apache-2.0
//! What [`plugin!`](crate::plugin) expands to. For the macro only.

use crate::abi::{
    HostFunctions, RawCall, CALLERS_ANY_PRIVILEGE_LEVEL, CALLERS_KERNEL_ONLY, CALLERS_OF_THE_VM,
    HOST_FUNCTIONS_FIRST_SIZE, PLUGIN_ABI_VERSION, RESULT_PANICKED,
};
use crate::{Call, Callers, Host, HypercallResult};
use hcall_abi::{encode_result, Errno};
use std::ffi::c_void;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Who may call a handler: the one in the list, if there is one.
pub const fn callers(list: &[Callers]) -> u32 {
    match list {
        [Callers::KernelOnly, ..] => CALLERS_KERNEL_ONLY,
        [Callers::AnyPrivilegeLevel, ..] => CALLERS_ANY_PRIVILEGE_LEVEL,
        [] => CALLERS_OF_THE_VM,
    }
}

/// `create` of the descriptor.
///
/// # Safety
///
/// `host` is the host's own table; `state` is a place for a pointer.
pub unsafe fn create<S: Send + Sync + 'static>(
    host: *const HostFunctions,
    state: *mut *mut c_void,
    make: impl FnOnce(Host) -> Result<S, Errno>,
) -> i32 {
    // SAFETY: the table, which begins with version and size in every version of it.
    let (version, size) = unsafe { ((*host).abi_version, (*host).size) };
    if version != PLUGIN_ABI_VERSION || (size as usize) < HOST_FUNCTIONS_FIRST_SIZE {
        return negative(Errno::EPROTO);
    }
    // SAFETY: the table of a version that is known.
    let host = unsafe { Host::new(host) };
    match catch(|| make(host)) {
        Some(Ok(made)) => {
            // SAFETY: a place for a pointer.
            unsafe { *state = Box::into_raw(Box::new(made)).cast() };
            0
        }
        Some(Err(errno)) => negative(errno),
        None => negative(Errno::EIO),
    }
}

/// `destroy` of the descriptor.
///
/// # Safety
///
/// `state` is what [`create`] made, and nobody uses it any more.
pub unsafe fn destroy<S: Send + Sync + 'static>(state: *mut c_void) {
    // SAFETY: by the contract it came from `Box::into_raw` of the same type, and is ours.
    let state = unsafe { Box::from_raw(state.cast::<S>()) };
    // What a state's `drop` throws must not reach the host; the panic has been reported.
    let _ = catch(|| drop(state));
}

/// `call` of a handler.
///
/// # Safety
///
/// `state` is what [`create`] made; `host` and `call` are the host's own.
pub unsafe fn answer<S: Send + Sync + 'static>(
    state: *mut c_void,
    host: *const HostFunctions,
    call: *mut RawCall,
    handler: impl FnOnce(&S, &mut Call<'_>) -> HypercallResult,
) -> i64 {
    // SAFETY: by the contract; nobody has it mutably, and `S` is `Sync`.
    let state = unsafe { &*state.cast::<S>() };
    // SAFETY: both are what the host has given this handler.
    let mut call = unsafe { Call::new(call, host) };
    match catch(|| handler(state, &mut call)) {
        Some(result) => encode_result(result),
        None => RESULT_PANICKED,
    }
}

/// What `function` returns; `None` if it panicked.
fn catch<T>(function: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(function)) {
        Ok(value) => Some(value),
        Err(payload) => {
            // Dropping what was thrown could throw again.
            std::mem::forget(payload);
            None
        }
    }
}

fn negative(errno: Errno) -> i32 {
    -i32::from(errno.get())
}
