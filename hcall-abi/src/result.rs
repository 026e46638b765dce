// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! How one signed 64-bit value, returned in rax, carries success and failure.
//!
//! | value | meaning |
//! |---|---|
//! | 0 … 2^63 − 1 | success, the value is the payload |
//! | −1 … −4095 | −errno, except −1000 |
//! | −1000 | `-KVM_ENOSYS`: KVM itself answered, no hcall VMM is there |
//! | anything else | malformed; no conforming host returns it |
//!
//! A guest in 32-bit mode sees eax only and sign-extends it; a payload above 2^31 − 1
//! reaches it as −EOVERFLOW.

use super::errno::Errno;

/// What KVM itself answers for a number it does not know
/// (`-KVM_ENOSYS`, `include/uapi/linux/kvm_para.h`).
pub const KVM_ENOSYS_RESULT: i64 = -1000;

/// The largest payload that a successful call can carry.
pub const MAX_PAYLOAD: u64 = i64::MAX as u64;

/// The largest payload that a successful call can carry to a caller in 32-bit mode.
pub const MAX_PAYLOAD_32: u64 = i32::MAX as u64;

/// Why a call did not succeed, as far as the result register tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// The host implements hcall and refused or failed the call with this errno.
    Errno(Errno),
    /// The host does not implement hcall: KVM answered in the VMM's place.
    NotHcall,
    /// A value that no conforming host returns.
    Malformed(i64),
}

impl CallError {
    /// The errno, if the host gave one.
    pub const fn errno(self) -> Option<Errno> {
        match self {
            Self::Errno(errno) => Some(errno),
            _ => None,
        }
    }
}

impl core::fmt::Display for CallError {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Errno(errno) => write!(formatter, "the host answered {errno}"),
            Self::NotHcall => formatter
                .write_str("the host does not implement hcall: KVM itself answered the hypercall"),
            Self::Malformed(raw) => {
                write!(
                    formatter,
                    "the host answered {raw:#x}, which is no hcall result"
                )
            }
        }
    }
}

impl core::error::Error for CallError {}

impl From<Errno> for CallError {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// Encodes what a handler decided into the value for rax.
///
/// A payload above [`MAX_PAYLOAD`] cannot be told from a failure and becomes −ERANGE;
/// results that need 64 unsigned bits go through memory. An errno that would collide
/// with [`KVM_ENOSYS_RESULT`] becomes −ENOSYS.
///
/// # Examples
///
/// ```
/// use hcall_abi::{encode_result, Errno};
/// assert_eq!(encode_result(Ok(42)), 42);
/// assert_eq!(encode_result(Err(Errno::ENOSYS)), -38);
/// assert_eq!(encode_result(Ok(u64::MAX)), -34);
/// ```
pub const fn encode_result(result: Result<u64, Errno>) -> i64 {
    match result {
        Ok(payload) if payload <= MAX_PAYLOAD => payload as i64,
        Ok(_) => -(Errno::ERANGE.get() as i64),
        Err(errno) => {
            let raw = -(errno.get() as i64);
            if raw == KVM_ENOSYS_RESULT {
                -(Errno::ENOSYS.get() as i64)
            } else {
                raw
            }
        }
    }
}

/// Encodes what a handler decided into the value for eax of a caller in 32-bit mode.
///
/// A payload above [`MAX_PAYLOAD_32`] becomes −EOVERFLOW: the call was carried out, and
/// its result does not fit. Otherwise as [`encode_result`].
///
/// # Examples
///
/// ```
/// use hcall_abi::{encode_result_32, Errno};
/// assert_eq!(encode_result_32(Ok(0x7fff_ffff)), 0x7fff_ffff);
/// assert_eq!(encode_result_32(Ok(0x8000_0000)), -75);
/// assert_eq!(encode_result_32(Err(Errno::ENOSYS)), -38);
/// ```
pub const fn encode_result_32(result: Result<u64, Errno>) -> i32 {
    let encoded = encode_result(result);
    if encoded > MAX_PAYLOAD_32 as i64 {
        return -(Errno::EOVERFLOW.get() as i32);
    }
    encoded as i32
}

/// Decodes rax after a call from CPL 0, or the `result` field of the `CALL` ioctl.
///
/// # Errors
///
/// See [`CallError`].
///
/// # Examples
///
/// ```
/// use hcall_abi::{decode_result, CallError, Errno};
/// assert_eq!(decode_result(42), Ok(42));
/// assert_eq!(decode_result(-1), Err(CallError::Errno(Errno::EPERM)));
/// assert_eq!(decode_result(-1000), Err(CallError::NotHcall));
/// assert_eq!(decode_result(-4096), Err(CallError::Malformed(-4096)));
/// ```
pub const fn decode_result(raw: i64) -> Result<u64, CallError> {
    if raw >= 0 {
        return Ok(raw as u64);
    }
    if raw == KVM_ENOSYS_RESULT {
        return Err(CallError::NotHcall);
    }
    if raw < -(Errno::MAX as i64) {
        return Err(CallError::Malformed(raw));
    }
    match Errno::new(-raw as u16) {
        Some(errno) => Err(CallError::Errno(errno)),
        None => Err(CallError::Malformed(raw)),
    }
}

/// Decodes rax after the instruction was executed at CPL > 0.
///
/// There KVM answers −EPERM to every number of its own accord, and so does an hcall host
/// by default; the two cannot be told apart, and −EPERM is reported as
/// [`CallError::NotHcall`].
///
/// # Errors
///
/// See [`CallError`].
pub const fn decode_result_unprivileged(raw: i64) -> Result<u64, CallError> {
    match decode_result(raw) {
        Err(CallError::Errno(Errno::EPERM)) => Err(CallError::NotHcall),
        decoded => decoded,
    }
}
