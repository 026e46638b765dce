// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The ABI: the source files of the crate `hcall-abi` themselves, not a copy.

#[path = "../hcall-abi/src/allow_list.rs"]
pub(crate) mod allow_list;
#[path = "../hcall-abi/src/batch.rs"]
pub(crate) mod batch;
#[path = "../hcall-abi/src/carrier.rs"]
pub(crate) mod carrier;
#[path = "../hcall-abi/src/convention.rs"]
pub(crate) mod convention;
#[path = "../hcall-abi/src/cpuid.rs"]
pub(crate) mod cpuid;
#[path = "../hcall-abi/src/errno.rs"]
pub(crate) mod errno;
#[path = "../hcall-abi/src/ioctl.rs"]
pub(crate) mod ioctl;
#[path = "../hcall-abi/src/number.rs"]
pub(crate) mod number;
#[path = "../hcall-abi/src/result.rs"]
pub(crate) mod result;
#[path = "../hcall-abi/src/transport.rs"]
pub(crate) mod transport;
#[path = "../hcall-abi/src/version.rs"]
pub(crate) mod version;
