// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the entries of a ring may call: decided at set-up, applied to every entry.

use hcall_abi::ioctl::NumberRange;
use hcall_abi::ring::RANGES_MAX;
use hcall_abi::{Errno, HypercallNumber};

/// Who writes the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Author {
    /// The guest's kernel.
    Kernel,
    /// An unprivileged process, which knows no guest-physical address.
    Process,
}

/// The numbers that a ring admits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    ranges: [NumberRange; RANGES_MAX],
    count: usize,
    author: Author,
}

impl Policy {
    /// The policy of these ranges, of which there are at most [`RANGES_MAX`]; none admits
    /// everything. `None` if one ends before it begins.
    pub(super) fn new(given: &[NumberRange], author: Author) -> Option<Self> {
        if given.iter().any(|range| range.last < range.first) {
            return None;
        }
        let mut ranges = [NumberRange::default(); RANGES_MAX];
        ranges.get_mut(..given.len())?.copy_from_slice(given);
        Some(Self {
            ranges,
            count: given.len(),
            author,
        })
    }

    /// Whether an entry may have `number`.
    ///
    /// # Errors
    ///
    /// What the entry is answered with if not.
    pub(super) fn check(&self, number: HypercallNumber) -> Result<(), Errno> {
        let ranges = &self.ranges[..self.count];
        let admitted = |range: &NumberRange| (range.first..=range.last).contains(&number.get());
        if !ranges.is_empty() && !ranges.iter().any(admitted) {
            return Err(Errno::EPERM);
        }
        if self.author == Author::Process && number.takes_gpa() {
            return Err(Errno::EPERM);
        }
        if !number.may_be_in_ring() {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }
}
