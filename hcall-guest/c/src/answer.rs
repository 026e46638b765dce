// SPDX-License-Identifier: MIT OR Apache-2.0
//! What became of a call, as one signed number: a payload, the host's −errno, or one of the
//! values below, which no host answers.

use sdk::abi::result::KVM_ENOSYS_RESULT;
use sdk::{CallError, DetectError, Error};

/// CPUID shows no hcall host; nothing was executed, as with all but the last of these.
pub const HCALL_NO_HOST: i64 = -0x1_0001;
/// The host speaks another version of the ABI.
pub const HCALL_VERSION: i64 = -0x1_0002;
/// The host offers no transport that this guest can use.
pub const HCALL_NO_TRANSPORT: i64 = -0x1_0003;
/// Which trap instruction processors of this vendor have is not known.
pub const HCALL_VENDOR: i64 = -0x1_0004;
/// The caller does not run at CPL 0.
pub const HCALL_PRIVILEGE: i64 = -0x1_0005;
/// The number is KVM's, Xen's or Hyper-V's: it would never reach a VMM.
pub const HCALL_FOREIGN_NUMBER: i64 = -0x1_0006;
/// No call can be made, for a reason that has no value of its own.
pub const HCALL_UNAVAILABLE: i64 = -0x1_0007;
/// The call was made, and the answer is none that a conforming host gives.
pub const HCALL_MALFORMED: i64 = -0x1_0008;

/// The number that stands for what a call came to.
pub const fn answer(result: Result<u64, Error>) -> i64 {
    match result {
        // A payload is below 2^63.
        Ok(payload) => payload as i64,
        Err(Error::Call(error)) => of_host(error),
        Err(Error::Unavailable(error)) => of_detection(error),
        // An argument that is too wide: not on x86-64.
        Err(_) => HCALL_UNAVAILABLE,
    }
}

const fn of_host(error: CallError) -> i64 {
    match error {
        CallError::Errno(errno) => -(errno.get() as i64),
        CallError::NotHcall => KVM_ENOSYS_RESULT,
        _ => HCALL_MALFORMED,
    }
}

/// The number for a detection that found nothing to call.
pub(crate) const fn of_detection(error: DetectError) -> i64 {
    match error {
        DetectError::NoHost => HCALL_NO_HOST,
        DetectError::Version(_) => HCALL_VERSION,
        DetectError::NoTransport(_) => HCALL_NO_TRANSPORT,
        DetectError::Vendor(_) => HCALL_VENDOR,
        DetectError::Privilege(_) => HCALL_PRIVILEGE,
        _ => HCALL_UNAVAILABLE,
    }
}
