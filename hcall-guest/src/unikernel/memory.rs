// SPDX-License-Identifier: MIT OR Apache-2.0
//! The core calls that write guest memory, made safe: a unikernel's memory is mapped to
//! itself, so a reference to it has the GPA that the host needs.

use crate::batch::{Batch, OnError};
use crate::{core_calls, Error, Gpa};
use hcall_abi::layout::{Clock, GuestInfo, Stats, TimeValue};

fn gpa_of<T: ?Sized>(memory: &mut T) -> Gpa {
    Gpa::new((memory as *mut T).cast::<u8>().expose_provenance() as u64)
}

/// The host's `clock`.
///
/// # Errors
///
/// Those of every call.
pub fn time(clock: Clock) -> Result<TimeValue, Error> {
    let mut value = TimeValue::default();
    let gpa = gpa_of(&mut value);
    // SAFETY: the host writes a `TimeValue`, of which every bit pattern is valid, to one
    // that is borrowed mutably here.
    unsafe { core_calls::time(clock, gpa)? };
    Ok(value)
}

/// What the host says of this VM.
///
/// # Errors
///
/// Those of every call.
pub fn guest_info() -> Result<GuestInfo, Error> {
    let mut info = GuestInfo::default();
    let gpa = gpa_of(&mut info);
    // SAFETY: as in `time`, for at most the size of a `GuestInfo`.
    unsafe { core_calls::guest_info(gpa, size_of::<GuestInfo>() as u64)? };
    Ok(info)
}

/// The host's counters for this VM.
///
/// # Errors
///
/// Those of every call.
pub fn stats() -> Result<Stats, Error> {
    let mut stats = Stats::default();
    let gpa = gpa_of(&mut stats);
    // SAFETY: as in `time`, for at most the size of a `Stats`.
    unsafe { core_calls::stats(gpa, size_of::<Stats>() as u64)? };
    Ok(stats)
}

/// Fills `bytes` from the host's random generator; returns how many it wrote.
///
/// # Errors
///
/// −EMSGSIZE above the host's buffer limit, besides those of every call.
pub fn random(bytes: &mut [u8]) -> Result<usize, Error> {
    let length = bytes.len() as u64;
    // SAFETY: the host writes at most `length` bytes to memory borrowed mutably here.
    let written = unsafe { core_calls::random(gpa_of(bytes), length)? };
    Ok(written as usize)
}

/// Makes the calls of `batch` with one exit; returns how many were answered. Their answers
/// are in the batch.
///
/// # Errors
///
/// −E2BIG above the host's limit, −ENOSYS if it has no batches, besides those of every call;
/// nothing was called then.
pub fn batch(batch: &mut Batch<'_>, on_error: OnError) -> Result<usize, Error> {
    let gpa = gpa_of(batch.entries_mut());
    // SAFETY: the entries are contiguous, since memory is mapped to itself, and borrowed
    // mutably here. For what the calls do, see "Why a call is safe" in the crate's
    // documentation.
    unsafe { batch.call_at(gpa, on_error) }
}
