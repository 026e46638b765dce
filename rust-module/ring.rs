// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The ring of an open file: given to the host at set-up, taken back when the file is
//! released. Between the two the kernel takes no part in its calls, which is why the host
//! is told at set-up what the process may call.

use crate::abi::ioctl::{NumberRange, ProcessRing, RingWait, RING_INTERRUPT};
use crate::abi::number::{RING_SETUP, RING_TEARDOWN};
use crate::abi::ring::{self, RingLayout};
use crate::buffer::LentBuffer;
use crate::doorbell::Doorbell;
use crate::ring_interrupt::{self, Until};
use crate::ring_memory::RingMemory;
use crate::sdk::detect::Host;
use crate::{host, parameters};
use core::mem::ManuallyDrop;
use kernel::mm::virt::VmaNew;
use kernel::prelude::*;

/// The host has the ring from the making of this value until it is dropped.
pub(crate) struct Ring {
    host: &'static Host,
    identifier: u64,
    doorbell: Doorbell,
    /// Freed only once the host has said that it does not touch it any more.
    memory: ManuallyDrop<RingMemory>,
}

/// What the host made of a ring.
pub(crate) enum Answer {
    Serves(Ring),
    /// It answered with this instead, which is negative.
    Refuses(i64),
}

impl Ring {
    /// Hands the host a ring of `entries` calls whose numbers are among `allowed`; any
    /// number if that is `None`.
    ///
    /// Whatever is in the ring later, the host makes no call from it whose number is not
    /// allowed, and none that takes a guest-physical address, unless the module parameter
    /// `allow_raw_gpa` is set.
    pub(crate) fn set_up(
        host: &'static Host,
        entries: u32,
        allowed: Option<&[NumberRange]>,
    ) -> Result<Answer> {
        let layout = RingLayout::new(entries).ok_or(EINVAL)?;
        if entries > host.advertisement.limits.ring_entries {
            return Err(EINVAL);
        }
        let memory = RingMemory::zeroed(layout.bytes())?;
        let mut setup = ring::RingSetup {
            gpa: memory.gpa(),
            bytes: memory.bytes() as u64,
            entries,
            flags: origin(),
            interrupt: ring_interrupt::global_system_interrupt(),
            ..ring::RingSetup::default()
        };
        restrict(&mut setup, allowed)?;
        let (answer, setup) = ask(host, setup)?;
        let Ok(identifier) = u64::try_from(answer) else {
            return Ok(Answer::Refuses(answer));
        };
        // From here on the ring is the host's as well, and drop takes it back.
        let ring = Self {
            host,
            identifier,
            doorbell: Doorbell::new(&setup),
            memory: ManuallyDrop::new(memory),
        };
        if !ring.doorbell.is_usable() {
            pr_err!("the host's doorbell is of a kind that this module does not know\n");
            return Err(host::not_supported());
        }
        Ok(Answer::Serves(ring))
    }

    /// What the process is told of its ring.
    pub(crate) fn describe(&self, setup: &mut ProcessRing) {
        setup.bytes = self.memory.bytes() as u64;
        setup.features = match ring_interrupt::global_system_interrupt() {
            0 => 0,
            _ => RING_INTERRUPT,
        };
    }

    /// Maps the ring into a process.
    pub(crate) fn map(&self, vma: &VmaNew) -> Result {
        self.memory.map(vma)
    }

    /// Wakes the host up.
    pub(crate) fn kick(&self) {
        self.doorbell.ring();
    }

    /// Sleeps until the host has posted more completions than the process has seen, or
    /// serves the ring no more.
    pub(crate) fn wait(&self, wait: &RingWait) -> Result {
        let until = Until {
            moved: self.memory.word(ring::COMPLETION_TAIL)?,
            seen: wait.seen,
            status: self.memory.word(ring::STATUS)?,
            running: ring::STATUS_RUNNING,
            timeout: wait.timeout,
        };
        // SAFETY: the words are in the ring's memory, which the borrow of `self` keeps.
        unsafe { ring_interrupt::sleep(until) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        match host::call(self.host, RING_TEARDOWN, &[self.identifier, 0, 0, 0]) {
            // SAFETY: the field is not used again. The host has let go of the memory.
            Ok(0) => unsafe { ManuallyDrop::drop(&mut self.memory) },
            // Lost rather than used for something else while the host may write to it.
            answer => pr_err!(
                "RING_TEARDOWN({}) gave {answer:?}: {} bytes of memory stay the host's\n",
                self.identifier,
                self.memory.bytes()
            ),
        }
    }
}

/// Who fills the ring: a process, whose addresses the host must not believe.
fn origin() -> u32 {
    if parameters::allow_raw_gpa() {
        0
    } else {
        ring::FLAG_PROCESS
    }
}

/// Puts the allowed numbers into the structure. None at all is a range that holds only a
/// number which no call can have, as no range would mean every number.
pub(crate) fn restrict(setup: &mut ring::RingSetup, allowed: Option<&[NumberRange]>) -> Result {
    let nothing = [NumberRange::default()];
    let allowed = match allowed {
        None => return Ok(()),
        Some([]) => &nothing,
        Some(allowed) => allowed,
    };
    let ranges = setup.ranges.get_mut(..allowed.len()).ok_or(EINVAL)?;
    ranges.copy_from_slice(allowed);
    setup.range_count = allowed.len() as u32;
    Ok(())
}

/// `RING_SETUP`: the host's answer, and the structure with what the host wrote.
fn ask(host: &Host, setup: ring::RingSetup) -> Result<(i64, ring::RingSetup)> {
    const LENGTH: usize = size_of::<ring::RingSetup>();
    let mut page = LentBuffer::zeroed(LENGTH as u32)?;
    page.bytes_mut()?.copy_from_slice(&setup.to_bytes());
    let arguments = [page.gpa(), LENGTH as u64, 0, 0];
    let answer = host::call(host, RING_SETUP, &arguments)?;
    let bytes = page.bytes_mut()?.first_chunk().ok_or(EINVAL)?;
    Ok((answer, ring::RingSetup::from_bytes(bytes)))
}
