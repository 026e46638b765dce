// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hypercalls from a guest.
//!
//! One API for everything that runs in a virtual machine under a VMM that speaks hcall:
//!
//! * **Kernels, unikernels, bare metal** (CPL 0): [`hcall0`] … [`hcall4`]. No allocator, no
//!   lock, callable from any number of CPUs and from interrupt handlers. The first call
//!   looks for the host in CPUID and decides between its transports; nothing
//!   that could trap is executed before the host's signature was seen.
//! * **Unikernels without a kernel of their own**: the feature `unikernel` adds entry
//!   point, stack, exception and panic handlers, console and exit; see
//!   `hcall_guest::unikernel`.
//! * **Linux processes**: the feature `device` offers the same functions over
//!   `/dev/hcall`; see `hcall_guest::device`.
//!
//! # Example
//!
//! ```no_run
//! use hcall_guest::{hcall2, HypercallNumber};
//!
//! const GREET: HypercallNumber = HypercallNumber::user(0x01);
//!
//! # fn main() -> Result<(), hcall_guest::Error> {
//! let sum = hcall2(GREET, 2, 40)?;
//! assert_eq!(sum, 42);
//! # Ok(())
//! # }
//! ```
//!
//! # Why a call is safe
//!
//! A hypercall asks the host for something, and the host can change this guest's memory
//! with or without being asked. Which of its calls write to addresses that the guest
//! names is the contract of each call: the wrappers in [`core_calls`] that have such a
//! contract are `unsafe`, and so should be wrappers of one's own.
#![cfg_attr(not(any(feature = "device", test)), no_std)]

mod arch;
pub mod batch;
mod call;
pub mod core_calls;
mod detect;
#[cfg(feature = "device")]
pub mod device;
pub mod raw;
#[cfg(all(feature = "unikernel", target_os = "none"))]
pub mod unikernel;

pub use call::{hcall0, hcall1, hcall2, hcall3, hcall4, host, Error};
pub use detect::{DetectError, Host, Trap};
pub use hcall_abi as abi;
pub use hcall_abi::{CallError, Errno, Gpa, HypercallNumber};
