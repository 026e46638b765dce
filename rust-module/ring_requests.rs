// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! What `RING_SETUP`, `RING_KICK` and `RING_WAIT` do.

use crate::abi::ioctl::{NumberRange, ProcessRing, RingWait};
use crate::ring::{Answer, Ring};
use crate::sdk::detect::Host;
use crate::user;
use kernel::mm::virt::VmaNew;
use kernel::prelude::*;
use kernel::sync::SetOnce;

/// The ring that an open file may have: one, for as long as the file is open.
pub(crate) struct RingSlot(SetOnce<Ring>);

impl RingSlot {
    pub(crate) const fn empty() -> Self {
        Self(SetOnce::new())
    }

    /// Whether there is a ring.
    pub(crate) fn is_taken(&self) -> bool {
        self.0.as_ref().is_some()
    }

    fn ring(&self) -> Result<&Ring> {
        self.0.as_ref().ok_or(ENXIO)
    }

    /// `RING_SETUP`, by one caller at a time. What the process is told is written last: if
    /// it cannot be, with `EFAULT`, there is a ring all the same.
    pub(crate) fn set_up(
        &self,
        host: &'static Host,
        allowed: Option<&[NumberRange]>,
        pointer: UserPtr,
    ) -> Result {
        let mut setup: ProcessRing = user::read(pointer)?;
        if setup.flags != 0 || setup.reserved != 0 {
            return Err(EINVAL);
        }
        if self.is_taken() {
            return Err(EBUSY);
        }
        setup.result = 0;
        setup.bytes = 0;
        setup.features = 0;
        match Ring::set_up(host, setup.entries, allowed)? {
            Answer::Serves(ring) => {
                ring.describe(&mut setup);
                self.0.populate(ring);
            }
            Answer::Refuses(answer) => setup.result = answer,
        }
        user::write(pointer, &setup)
    }

    /// `RING_KICK`.
    pub(crate) fn kick(&self, argument: usize) -> Result {
        if argument != 0 {
            return Err(EINVAL);
        }
        self.ring()?.kick();
        Ok(())
    }

    /// `RING_WAIT`.
    pub(crate) fn wait(&self, pointer: UserPtr) -> Result {
        let wait: RingWait = user::read(pointer)?;
        if wait.flags != 0 {
            return Err(EINVAL);
        }
        self.ring()?.wait(&wait)
    }

    /// `mmap`.
    pub(crate) fn map(&self, vma: &VmaNew) -> Result {
        self.ring()?.map(vma)
    }
}
