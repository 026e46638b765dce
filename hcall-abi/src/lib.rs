// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The hcall ABI, version 1.
//!
//! Everything a guest and a VMM must agree on is written once, here, and compiled
//! into all four consumers: the guest SDK, the Linux kernel module, the host
//! library and user space. `docs/abi.md` in the repository is the same contract in
//! prose; a test compares the two.
//!
//! | module | fixes |
//! |---|---|
//! | [`version`] | the ABI version and the magic that `PROBE` returns |
//! | [`number`] | which 32-bit numbers are usable, whose they are, and the core calls |
//! | [`convention`] | registers and instruction encodings |
//! | [`carrier`] | registers of the transport Carrier |
//! | [`result`](mod@result) | how one signed 64-bit value carries success and failure |
//! | [`errno`] | the Linux errno values a result may carry |
//! | [`cpuid`] | how a guest discovers the host before it executes anything |
//! | [`transport`] | how a call can reach the host |
//! | [`gpa`] | the type of guest-physical addresses |
//! | [`layout`] | structures in guest memory |
//! | [`batch`] | many calls for one exit |
//! | [`ioctl`] | `/dev/hcall` |
//! | [`allow_list`] | what a restricted file of it may call |
//!
//! # Example
//!
//! ```
//! use hcall_abi::{decode_result, encode_result, Errno, HypercallNumber};
//!
//! const GREET: HypercallNumber = HypercallNumber::user(0x01);
//! assert_eq!(GREET.get(), 0x4843_8001);
//!
//! let raw = encode_result(Err(Errno::EINVAL));
//! assert_eq!(raw, -22);
//! assert_eq!(decode_result(raw).unwrap_err().errno(), Some(Errno::EINVAL));
//! ```
#![no_std]
#![forbid(unsafe_code)]

pub mod allow_list;
pub mod batch;
pub mod carrier;
pub mod convention;
pub mod cpuid;
pub mod errno;
pub mod gpa;
pub mod ioctl;
pub mod layout;
pub mod number;
pub mod result;
pub mod transport;
pub mod version;

pub use errno::Errno;
pub use gpa::Gpa;
pub use number::{HypercallNumber, NumberError};
pub use result::{
    decode_result, decode_result_unprivileged, encode_result, encode_result_32, CallError,
};
pub use transport::{Transport, TransportSet};
pub use version::{AbiVersion, ABI_VERSION};
