// SPDX-License-Identifier: MIT OR Apache-2.0
//! One trap each, with no detection before and no decoding after.
//!
//! For those who test a host, or know theirs. Everybody else wants
//! [`hcall0`](crate::hcall0) … [`hcall4`](crate::hcall4).

pub use crate::arch::{carrier_vmcall, carrier_vmmcall, port_out, vmcall, vmmcall};
