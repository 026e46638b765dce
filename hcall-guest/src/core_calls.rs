// SPDX-License-Identifier: MIT OR Apache-2.0
//! The core calls with types, for code at CPL 0.
//!
//! Calls that make the host write guest memory take a [`Gpa`] and are `unsafe`; with the
//! feature `unikernel`, `hcall_guest::unikernel` has safe ones.

use crate::call::{hcall0, hcall1, hcall2, Error};
use hcall_abi::cpuid::Features;
use hcall_abi::layout::Clock;
use hcall_abi::version::PROBE_MAGIC;
use hcall_abi::{number, AbiVersion, CallError, Gpa};

/// Asks the host which version of the ABI it speaks.
///
/// # Errors
///
/// [`CallError::Malformed`] if the answer lacks the magic, besides those of every call. To
/// a 32-bit guest the host answers the version alone.
pub fn probe() -> Result<AbiVersion, Error> {
    let answer = hcall0(number::PROBE)?;
    if cfg!(target_pointer_width = "64") && answer >> 32 != u64::from(PROBE_MAGIC) {
        return Err(CallError::Malformed(answer as i64).into());
    }
    Ok(AbiVersion::new(answer as u32))
}

/// The host's optional parts.
///
/// # Errors
///
/// Those of every call.
pub fn features() -> Result<Features, Error> {
    Ok(Features::from_bits(hcall1(number::FEATURES, 0)? as u32))
}

/// Returns `value` by way of the host.
///
/// # Errors
///
/// −ERANGE if bit 63 of `value` is set, which no answer can carry.
pub fn echo(value: u64) -> Result<u64, Error> {
    hcall1(number::ECHO, value)
}

/// The frequency of the time-stamp counter in kHz.
///
/// # Errors
///
/// −ENODATA if the host does not know it.
pub fn tsc_khz() -> Result<u64, Error> {
    hcall0(number::TSC_KHZ)
}

/// Ends the VM; the VMM's process exits with `code`. Returns only if the host refused.
pub fn exit(code: u8) -> Error {
    refused(hcall1(number::EXIT, code.into()))
}

/// Ends the VM with the UTF-8 message of `length` bytes at `gpa`. Returns only if the
/// host refused.
pub fn panic(gpa: Gpa, length: u64) -> Error {
    refused(hcall2(number::PANIC, gpa.get(), length))
}

/// A call that does not return has returned: with its error, or against its contract.
fn refused(answer: Result<u64, Error>) -> Error {
    match answer {
        Ok(payload) => CallError::Malformed(payload as i64).into(),
        Err(error) => error,
    }
}

/// Writes the `length` bytes at `gpa` to the console of the VM; returns how many it took.
///
/// # Errors
///
/// −EFAULT if that is not all guest memory, −EMSGSIZE above the host's buffer limit.
pub fn console_write(gpa: Gpa, length: u64) -> Result<u64, Error> {
    hcall2(number::CONSOLE_WRITE, gpa.get(), length)
}

/// Has the host write a [`TimeValue`](hcall_abi::layout::TimeValue) to `gpa`.
///
/// # Errors
///
/// −EFAULT if that is not guest memory.
///
/// # Safety
///
/// The memory at `gpa` must be the caller's to have overwritten.
pub unsafe fn time(clock: Clock, gpa: Gpa) -> Result<(), Error> {
    hcall2(number::TIME, clock.raw(), gpa.get()).map(drop)
}

/// Has the host write up to `length` bytes of a [`GuestInfo`](hcall_abi::layout::GuestInfo)
/// to `gpa`; returns how many it wrote.
///
/// # Errors
///
/// −EFAULT if that is not guest memory.
///
/// # Safety
///
/// The memory at `gpa` must be the caller's to have overwritten.
pub unsafe fn guest_info(gpa: Gpa, length: u64) -> Result<u64, Error> {
    hcall2(number::GUEST_INFO, gpa.get(), length)
}

/// Has the host write up to `length` bytes of a [`Stats`](hcall_abi::layout::Stats) to
/// `gpa`; returns how many it wrote.
///
/// # Errors
///
/// −EFAULT if that is not guest memory.
///
/// # Safety
///
/// The memory at `gpa` must be the caller's to have overwritten.
pub unsafe fn stats(gpa: Gpa, length: u64) -> Result<u64, Error> {
    hcall2(number::STATS, gpa.get(), length)
}

/// Has the host fill `length` bytes at `gpa` from its random generator; returns how many
/// it wrote.
///
/// # Errors
///
/// −EFAULT if that is not all guest memory, −EMSGSIZE above the host's buffer limit.
///
/// # Safety
///
/// The memory at `gpa` must be the caller's to have overwritten.
pub unsafe fn random(gpa: Gpa, length: u64) -> Result<u64, Error> {
    hcall2(number::RANDOM, gpa.get(), length)
}
