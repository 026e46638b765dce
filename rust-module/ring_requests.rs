// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! What `RING_SETUP`, `RING_KICK` and `RING_WAIT` do.

use crate::abi::allow_list::AllowList;
use crate::abi::ioctl::{ProcessRing, RingWait};
use crate::restriction::Restriction;
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

    fn ring(&self) -> Result<&Ring> {
        self.0.as_ref().ok_or(ENXIO)
    }

    /// `RING_SETUP`. What the process is told is written last: if it cannot be, with
    /// `EFAULT`, there is a ring all the same.
    pub(crate) fn set_up(
        &self,
        host: &'static Host,
        restriction: &Restriction,
        pointer: UserPtr,
    ) -> Result {
        let mut setup: ProcessRing = user::read(pointer)?;
        if setup.flags != 0 || setup.reserved != 0 {
            return Err(EINVAL);
        }
        if self.0.as_ref().is_some() {
            return Err(EBUSY);
        }
        // What the host is told now holds for as long as there is the ring.
        let allowed = restriction.hold();
        let made = self.make(host, allowed.as_ref(), &mut setup);
        if !matches!(made, Ok(true)) {
            restriction.release();
        }
        made?;
        user::write(pointer, &setup)
    }

    /// Has the host serve a ring, and keeps it; whether there is one now. `setup` gets what
    /// the process is told.
    fn make(
        &self,
        host: &'static Host,
        allowed: Option<&AllowList>,
        setup: &mut ProcessRing,
    ) -> Result<bool> {
        setup.result = 0;
        setup.bytes = 0;
        setup.features = 0;
        match Ring::set_up(host, setup.entries, allowed.map(AllowList::ranges))? {
            Answer::Serves(ring) => {
                ring.describe(setup);
                // Of two that come here at once, one is too late, and its ring goes.
                if self.0.populate(ring) {
                    Ok(true)
                } else {
                    Err(EBUSY)
                }
            }
            Answer::Refuses(answer) => {
                setup.result = answer;
                Ok(false)
            }
        }
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
