// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guest memory: below the hole that PCs have under 4 GiB, and above it.

use super::config::MemorySize;
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use vm_memory::mmap::FromRangesError;
use vm_memory::{GuestAddress, GuestMemory, GuestMemoryMmap, GuestMemoryRegion};

/// Start of the hole: devices, and the pages that KVM keeps for itself.
const HOLE_START: u64 = 0xc000_0000;
/// End of the hole.
const HOLE_END: u64 = 0x1_0000_0000;

/// Why there is no guest memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The operating system refused.
    #[error("cannot map {size} of guest memory; give the guest less with --memory")]
    Map {
        /// What was asked for.
        size: MemorySize,
        /// Why.
        source: FromRangesError,
    },
    /// KVM refused.
    #[error(
        "KVM refused guest memory, as it does where the processor's physical addresses are too \
         short for it; give the guest less with --memory"
    )]
    Register(#[source] kvm_ioctls::Error),
}

/// The ranges that `size` of memory occupies.
pub(super) fn ranges(size: MemorySize) -> Vec<(GuestAddress, usize)> {
    let low = size.bytes().min(HOLE_START);
    let high = size.bytes() - low;
    let mut ranges = vec![(GuestAddress(0), low as usize)];
    if high > 0 {
        ranges.push((GuestAddress(HOLE_END), high as usize));
    }
    ranges
}

/// Maps `size` of memory. The kernel commits pages as the guest touches them.
pub(super) fn map(size: MemorySize) -> Result<GuestMemoryMmap, MemoryError> {
    GuestMemoryMmap::from_ranges(&ranges(size)).map_err(|source| MemoryError::Map { size, source })
}

/// Gives `memory` to the guest of `vm`.
///
/// # Safety
///
/// The mapping must stay as long as a vCPU of `vm` can run.
pub(super) unsafe fn register(vm: &VmFd, memory: &GuestMemoryMmap) -> Result<(), MemoryError> {
    for (slot, region) in (0..).zip(memory.iter()) {
        let region = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: region.start_addr().0,
            memory_size: region.len(),
            userspace_addr: region.as_ptr() as u64,
        };
        // SAFETY: the caller keeps the mapping; the regions are distinct and their slots new.
        unsafe {
            vm.set_user_memory_region(region)
                .map_err(MemoryError::Register)?
        };
    }
    Ok(())
}
