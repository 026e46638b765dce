// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interrupts of a VM's rings. Rings can share one: a guest's driver may have one for
//! all of its rings.
//!
//! There is one eventfd for each interrupt, however many rings share it: two would each
//! raise and lower the line, and between them an edge could be lost.

use super::wiring::RingWiring;
use hcall_abi::Errno;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

/// The connected interrupts by their global system interrupt.
#[derive(Debug, Default)]
pub(super) struct Interrupts(Mutex<BTreeMap<u32, Shared>>);

#[derive(Debug)]
struct Shared {
    event: Arc<EventFd>,
    rings: usize,
}

impl Interrupts {
    /// What raises `gsi`, for one more ring.
    ///
    /// # Errors
    ///
    /// What the guest is answered.
    pub(super) fn connect(&self, wiring: &dyn RingWiring, gsi: u32) -> Result<Arc<EventFd>, Errno> {
        let mut connected = self.connected();
        if let Some(shared) = connected.get_mut(&gsi) {
            shared.rings += 1;
            return Ok(Arc::clone(&shared.event));
        }
        let event = Arc::new(EventFd::new(EFD_NONBLOCK).map_err(|_| Errno::ENOMEM)?);
        wiring.connect_interrupt(gsi, &event)?;
        let shared = Shared {
            event: Arc::clone(&event),
            rings: 1,
        };
        connected.insert(gsi, shared);
        Ok(event)
    }

    /// Undoes one [`connect`](Self::connect).
    pub(super) fn disconnect(&self, wiring: &dyn RingWiring, gsi: u32) {
        let mut connected = self.connected();
        let Some(shared) = connected.get_mut(&gsi) else {
            return;
        };
        shared.rings -= 1;
        if shared.rings == 0 {
            wiring.disconnect_interrupt(gsi, &shared.event);
            connected.remove(&gsi);
        }
    }

    fn connected(&self) -> MutexGuard<'_, BTreeMap<u32, Shared>> {
        // What a panic could leave behind is one interrupt that stays connected.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
