// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guest memory as handlers see it: copied in or out once, bounds-checked, never borrowed.

use hcall_abi::{Errno, Gpa};
use vm_memory::{Bytes, GuestAddress, GuestMemory};

/// A range of guest-physical addresses that is not all guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes at guest-physical address {gpa} are not all guest memory")]
pub struct OutsideMemory {
    /// Start of the range.
    pub gpa: Gpa,
    /// Its length in bytes.
    pub length: usize,
}

impl From<OutsideMemory> for Errno {
    fn from(_: OutsideMemory) -> Self {
        Errno::EFAULT
    }
}

/// Copies between guest memory and the host's; implemented for all of `vm-memory`'s.
///
/// Other vCPUs may change the memory at any time: check the copy, and use the copy.
pub trait CopyGuestMemory: Send + Sync {
    /// Fills `bytes` from guest memory at `gpa`.
    ///
    /// # Errors
    ///
    /// [`OutsideMemory`] if the range is not all guest memory.
    fn read(&self, gpa: Gpa, bytes: &mut [u8]) -> Result<(), OutsideMemory>;

    /// Copies `bytes` to guest memory at `gpa`: all or, on an error, nothing.
    ///
    /// # Errors
    ///
    /// [`OutsideMemory`] if the range is not all guest memory.
    fn write(&self, gpa: Gpa, bytes: &[u8]) -> Result<(), OutsideMemory>;

    /// Whether `length` bytes at `gpa` are all guest memory; true for a length of 0.
    fn contains(&self, gpa: Gpa, length: usize) -> bool;
}

impl<M: GuestMemory + Send + Sync> CopyGuestMemory for M {
    fn read(&self, gpa: Gpa, bytes: &mut [u8]) -> Result<(), OutsideMemory> {
        if bytes.is_empty() {
            return Ok(());
        }
        let outside = OutsideMemory {
            gpa,
            length: bytes.len(),
        };
        self.read_slice(bytes, GuestAddress(gpa.get()))
            .map_err(|_| outside)
    }

    fn write(&self, gpa: Gpa, bytes: &[u8]) -> Result<(), OutsideMemory> {
        let outside = OutsideMemory {
            gpa,
            length: bytes.len(),
        };
        if !self.contains(gpa, bytes.len()) {
            return Err(outside);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.write_slice(bytes, GuestAddress(gpa.get()))
            .map_err(|_| outside)
    }

    fn contains(&self, gpa: Gpa, length: usize) -> bool {
        length == 0 || self.check_range(GuestAddress(gpa.get()), length)
    }
}
