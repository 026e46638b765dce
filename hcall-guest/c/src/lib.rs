// SPDX-License-Identifier: MIT OR Apache-2.0
//! `libhcall_guest.a`: the SDK for kernels and unikernels in C, or in any language that
//! calls C. What it offers is said in `include/hcall_guest.h`; `docs/unikernels.md` says
//! how it is built and linked.
//!
//! The functions follow the System V ABI: which registers a hypercall takes is this side of
//! them. They use no vector register, allocate nothing, take no lock, and may be called on
//! any CPU and from interrupt handlers.
#![cfg_attr(target_os = "none", no_std)]

mod answer;
mod calls;
#[cfg(test)]
mod header;
mod host;
#[cfg(target_os = "none")]
mod panic;

pub use answer::{
    answer, HCALL_FOREIGN_NUMBER, HCALL_MALFORMED, HCALL_NO_HOST, HCALL_NO_TRANSPORT,
    HCALL_PRIVILEGE, HCALL_UNAVAILABLE, HCALL_VENDOR, HCALL_VERSION,
};
pub use calls::{hcall0, hcall1, hcall2, hcall3, hcall4};
pub use host::{hcall_detect, HcallHost};
