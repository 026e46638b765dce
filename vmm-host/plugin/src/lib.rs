// SPDX-License-Identifier: MIT OR Apache-2.0
//! Plugins for `hcall-vmm`: shared objects with handlers of hypercalls.
//!
//! A crate of type `cdylib` that depends on this one and on nothing else of hcall's:
//!
//! ```
//! use hcall_plugin::{Call, Errno, HypercallNumber, HypercallResult};
//!
//! // 1. assign a number
//! const DIVIDE: HypercallNumber = HypercallNumber::user(0x01);
//!
//! // 2. implement
//! fn divide(call: &mut Call<'_>) -> HypercallResult {
//!     let [a, b, ..] = call.args();
//!     a.checked_div(b).ok_or(Errno::EDOM)
//! }
//!
//! // 3. register
//! hcall_plugin::plugin! {
//!     name: "divide",
//!     handlers: { DIVIDE => divide },
//! }
//! # fn main() {}
//! ```
//!
//! `hcall-vmm run IMAGE --plugin libdivide.so` then answers the number; so does every VMM that
//! loads plugins by the library `hcall-vmm`. In C there is [`hcall_plugin.h`][header], and in
//! other languages what follows from it: [`abi`] is the contract.
//!
//! [header]: https://docs.rs/crate/hcall-plugin/latest/source/include/hcall_plugin.h
//!
//! # Panics
//!
//! A handler that panics gives the guest −EIO; the host counts it, and the VM goes on. (A crate
//! built with `panic = "abort"` ends the whole VMM instead, as does whatever else ends a
//! process: a plugin is part of it.)
//!
//! # Unloading
//!
//! When the last handler of a plugin has been removed, no vCPU remembers it, and none waits for
//! an answer that it [deferred](Call::defer), its state is dropped, on whichever thread that
//! was, and the shared object is closed. Threads that the plugin has started must have ended
//! then: join them in the state's `drop`. Thread-local values with destructors keep the object
//! in memory until the threads that have them end: the C library sees to that.

pub mod abi;
mod call;
mod deferred;
#[doc(hidden)]
pub mod export;
mod host;
mod interrupts;

pub use abi::{DescriptorTable, Registers, Segment, SpecialRegisters};
pub use call::{Call, HypercallResult, Mode};
pub use deferred::Deferred;
pub use hcall_abi::{Errno, Gpa, HypercallNumber};
pub use host::{Host, Level};
pub use interrupts::InterruptVector;

/// Who may call a handler, where the plugin says so itself; otherwise the VM's policy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Callers {
    /// CPL 0 only; others are answered −EPERM.
    KernelOnly,
    /// Every privilege level.
    AnyPrivilegeLevel,
}

/// Makes a plugin of the crate: exports its descriptor.
///
/// `handlers` are `NUMBER => FUNCTION`, or `NUMBER, CALLERS => FUNCTION` with one of
/// [`Callers`]; a function takes `&mut` [`Call`]. With `state: TYPE = MAKE`, where `MAKE` is a
/// function of the [`Host`] that returns `Result<TYPE, Errno>`, functions take `&TYPE` before
/// it. The state is made when the plugin is loaded, and dropped when it is unloaded.
///
/// # Examples
///
/// ```
/// use hcall_plugin::{Call, Callers, Errno, Host, HypercallNumber, HypercallResult};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// struct Counter(AtomicU64);
///
/// impl Counter {
///     fn new(_host: Host) -> Result<Self, Errno> {
///         Ok(Self(AtomicU64::new(0)))
///     }
///
///     fn count(&self, _call: &mut Call<'_>) -> HypercallResult {
///         Ok(self.0.fetch_add(1, Ordering::Relaxed))
///     }
/// }
///
/// hcall_plugin::plugin! {
///     name: "counter",
///     state: Counter = Counter::new,
///     handlers: {
///         HypercallNumber::user(0x01) => Counter::count,
///         HypercallNumber::user(0x02), Callers::AnyPrivilegeLevel => Counter::count,
///     },
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! plugin {
    (
        name: $name:literal,
        handlers: { $($number:expr $(, $callers:expr)? => $function:expr),+ $(,)? } $(,)?
    ) => {
        $crate::plugin! {
            name: $name,
            state: () = |_| ::core::result::Result::Ok(()),
            handlers: {
                $($number $(, $callers)? => |_: &(), call: &mut $crate::Call<'_>| {
                    $function(call)
                }),+
            },
        }
    };
    (
        name: $name:literal,
        state: $state:ty = $make:expr,
        handlers: { $($number:expr $(, $callers:expr)? => $function:expr),+ $(,)? } $(,)?
    ) => {
        const _: () = {
            const HANDLERS: &[$crate::abi::HandlerDescriptor] = &[$({
                unsafe extern "C" fn call(
                    state: *mut ::core::ffi::c_void,
                    host: *const $crate::abi::HostFunctions,
                    call: *mut $crate::abi::RawCall,
                ) -> i64 {
                    // SAFETY: the host calls with what `create` made, and its own.
                    unsafe { $crate::export::answer::<$state>(state, host, call, $function) }
                }
                const NUMBER: $crate::HypercallNumber = $number;
                $crate::abi::HandlerDescriptor {
                    number: NUMBER.get(),
                    callers: $crate::export::callers(&[$($callers)?]),
                    call: ::core::option::Option::Some(call),
                }
            }),+];

            unsafe extern "C" fn create(
                host: *const $crate::abi::HostFunctions,
                state: *mut *mut ::core::ffi::c_void,
            ) -> i32 {
                // SAFETY: the host calls with its own table, and a place for the state.
                unsafe { $crate::export::create::<$state>(host, state, $make) }
            }

            unsafe extern "C" fn destroy(state: *mut ::core::ffi::c_void) {
                // SAFETY: the host calls once, with what `create` made.
                unsafe { $crate::export::destroy::<$state>(state) }
            }

            #[unsafe(no_mangle)]
            #[allow(non_upper_case_globals)]
            static hcall_plugin: $crate::abi::PluginDescriptor = $crate::abi::PluginDescriptor {
                abi_version: $crate::abi::PLUGIN_ABI_VERSION,
                size: ::core::mem::size_of::<$crate::abi::PluginDescriptor>() as u32,
                name: ::core::concat!($name, "\0").as_ptr().cast(),
                version: ::core::concat!(::core::env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast(),
                handlers: HANDLERS.as_ptr(),
                handler_count: HANDLERS.len() as u32,
                handler_size: ::core::mem::size_of::<$crate::abi::HandlerDescriptor>() as u32,
                create: ::core::option::Option::Some(create),
                destroy: ::core::option::Option::Some(destroy),
            };
        };
    };
}
