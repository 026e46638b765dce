// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hypercalls from a Linux process, by way of `/dev/hcall` (feature `device`).
//!
//! [`Device`] is an open `/dev/hcall`; share it between threads, calls need no lock. The
//! functions [`hcall0`] … [`hcall4`] take the same arguments as those of the crate root and
//! use one device per process, opened at the first call.
//!
//! The module's policy applies: numbers that can never reach a VMM are refused, and core
//! calls that pass guest memory are made with [`Device::call_buffer`] or the typed methods,
//! which hand the host a page of the kernel's own and never memory of the process.
//!
//! # Examples
//!
//! ```no_run
//! use hcall_guest::device::{hcall2, Buffer, Device, DeviceError};
//! use hcall_guest::HypercallNumber;
//!
//! const GREET: HypercallNumber = HypercallNumber::user(0x01);
//! const SUM: HypercallNumber = HypercallNumber::user(0x02);
//!
//! # fn main() -> Result<(), DeviceError> {
//! assert_eq!(hcall2(GREET, 2, 40)?, 42);
//!
//! let device = Device::open()?;
//! device.console_write(b"hello from a process\n")?;
//! let sum = device.call_buffer(SUM, &[], Buffer::In(b"\x01\x02\x03"), &[])?;
//! # Ok(())
//! # }
//! ```

mod batch;
mod buffer;
mod call;
mod core_calls;
mod error;
mod inherit;
mod process;
mod request;
mod restrict;

pub use buffer::Buffer;
pub use call::Device;
pub use error::DeviceError;
pub use inherit::INHERITED_VARIABLE;
pub use process::{hcall0, hcall1, hcall2, hcall3, hcall4};
