// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guest memory as handlers see it: copied in or out once, bounds-checked, never borrowed.

use hcall_abi::{Errno, Gpa};
use std::sync::atomic::Ordering;
use vm_memory::{Bytes, GuestAddress, GuestMemory};

pub use crate::virtual_memory::VirtualMemory;

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

    /// Writes `values` to guest memory, the first to `gpa`, each next one `stride` bytes after
    /// the one before, and nothing between them.
    ///
    /// # Errors
    ///
    /// [`OutsideMemory`] if a value's place is not guest memory; those before it are written.
    fn write_spread(&self, gpa: Gpa, stride: usize, values: &[u64]) -> Result<(), OutsideMemory> {
        values.iter().enumerate().try_for_each(|(index, value)| {
            let offset = (index * stride) as u64;
            self.write(
                Gpa::new(gpa.get().wrapping_add(offset)),
                &value.to_le_bytes(),
            )
        })
    }

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

    fn write_spread(&self, gpa: Gpa, stride: usize, values: &[u64]) -> Result<(), OutsideMemory> {
        let length = match values.len() {
            0 => return Ok(()),
            count => (count - 1) * stride + size_of::<u64>(),
        };
        // One look-up for all, where they stand in one region.
        let region = self.get_slice(GuestAddress(gpa.get()), length);
        values.iter().enumerate().try_for_each(|(index, value)| {
            let offset = index * stride;
            if let Ok(region) = &region {
                if region
                    .store(value.to_le(), offset, Ordering::Relaxed)
                    .is_ok()
                {
                    return Ok(());
                }
            }
            let place = Gpa::new(gpa.get().wrapping_add(offset as u64));
            CopyGuestMemory::write(self, place, &value.to_le_bytes())
        })
    }

    fn contains(&self, gpa: Gpa, length: usize) -> bool {
        length == 0 || self.check_range(GuestAddress(gpa.get()), length)
    }
}
