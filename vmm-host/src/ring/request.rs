// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest asks for by `RING_SETUP`: copied in once and checked.

use super::config::RingConfig;
use super::policy::{Author, Policy};
use crate::memory::CopyGuestMemory;
use hcall_abi::ring::{RingLayout, RingSetup, ALIGNMENT, FLAG_PROCESS};
use hcall_abi::{Errno, Gpa};

/// A ring that may be set up.
#[derive(Debug)]
pub(super) struct Request {
    /// Where the structure stands, to be answered there.
    pub(super) descriptor: Gpa,
    /// The structure as it was read.
    pub(super) setup: RingSetup,
    /// Where the ring stands.
    pub(super) gpa: Gpa,
    pub(super) layout: RingLayout,
    pub(super) policy: Policy,
    /// The interrupt for completions.
    pub(super) interrupt: Option<u32>,
}

impl Request {
    /// Reads the structure of `length` bytes at `descriptor`.
    ///
    /// # Errors
    ///
    /// What the call is answered with.
    pub(super) fn read(
        memory: &dyn CopyGuestMemory,
        descriptor: Gpa,
        length: u64,
        config: &RingConfig,
    ) -> Result<Self, Errno> {
        let mut bytes = [0; size_of::<RingSetup>()];
        if length < bytes.len() as u64 {
            return Err(Errno::EINVAL);
        }
        memory.read(descriptor, &mut bytes)?;
        let setup = RingSetup::from_bytes(&bytes);
        Self::check(descriptor, setup, config).ok_or(Errno::EINVAL)
    }

    fn check(descriptor: Gpa, setup: RingSetup, config: &RingConfig) -> Option<Self> {
        let layout = RingLayout::new(setup.entries)?;
        let author = match setup.flags {
            0 => Author::Kernel,
            FLAG_PROCESS => Author::Process,
            _ => return None,
        };
        let ranges = setup.ranges.get(..setup.range_count as usize)?;
        let allowed = layout.entries() <= config.entries
            && setup.bytes >= layout.bytes()
            && setup.gpa % ALIGNMENT == 0
            && setup.reserved.iter().all(|element| *element == 0);
        if !allowed {
            return None;
        }
        Some(Self {
            descriptor,
            gpa: Gpa::new(setup.gpa),
            layout,
            policy: Policy::new(ranges, author)?,
            interrupt: (setup.interrupt != 0).then_some(setup.interrupt),
            setup,
        })
    }
}
