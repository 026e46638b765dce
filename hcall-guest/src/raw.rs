// SPDX-License-Identifier: MIT OR Apache-2.0
//! One trap each, with no detection before and no decoding after.
//!
//! For those who test a host, or know theirs. Everybody else wants
//! [`hcall0`](crate::hcall0) … [`hcall4`](crate::hcall4).

#[cfg(target_arch = "x86_64")]
pub use crate::arch::{carrier_vmcall, carrier_vmmcall};
pub use crate::arch::{port_out, vmcall, vmmcall};
