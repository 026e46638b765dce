// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The interrupt by which the host tells of completions, one for all rings, and the
//! sleep that it ends.

use crate::abi::cpuid::Features;
use crate::parameters;
use crate::sdk::detect::Host;
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};

extern "C" {
    // In `ring_wait.c`.
    fn hcall_ring_interrupt_request(gsi: u32, cookie: *mut c_void) -> c_int;
    fn hcall_ring_interrupt_free(gsi: u32, irq: c_int, cookie: *mut c_void);
    fn hcall_ring_sleep(
        tail: *const u32,
        seen: u32,
        status: *const u32,
        running: u32,
        timeout: u64,
    ) -> c_int;
    fn hcall_ring_look(
        tail: *const u32,
        seen: u32,
        status: *const u32,
        running: u32,
        timeout: u64,
    ) -> c_int;
}

/// The requested global system interrupt; 0 for none. Set before there is a device and reset
/// after.
static REQUESTED: Atomic<u32> = Atomic::new(0);

/// The requested interrupt; released when dropped.
pub(crate) struct RingInterrupt {
    gsi: u32,
    /// The kernel's number for it.
    irq: c_int,
}

impl RingInterrupt {
    /// Requests the interrupt that the module parameter names, if `host` offers rings.
    /// Without one, sleepers look at their rings at every tick.
    pub(crate) fn request_for(host: &Host) -> Option<Self> {
        let gsi = parameters::ring_irq();
        if gsi == 0 || !host.advertisement.features.contains(Features::RING) {
            return None;
        }
        // SAFETY: the cookie is compared with that of `free_irq` and otherwise unused.
        let irq = unsafe { hcall_ring_interrupt_request(gsi, cookie()) };
        if irq < 0 {
            pr_warn!("interrupt {gsi} cannot be had (error {irq}), set ring_irq to another\n");
            return None;
        }
        REQUESTED.store(gsi, Relaxed);
        Some(Self { gsi, irq })
    }
}

impl Drop for RingInterrupt {
    fn drop(&mut self) {
        REQUESTED.store(0, Relaxed);
        // SAFETY: a value of this type exists only while the interrupt is requested.
        unsafe { hcall_ring_interrupt_free(self.gsi, self.irq, cookie()) };
    }
}

/// Tells this module's request from any other's.
fn cookie() -> *mut c_void {
    (&raw const REQUESTED).cast::<c_void>().cast_mut()
}

/// For the host: where its interrupt arrives, 0 for none.
pub(crate) fn global_system_interrupt() -> u32 {
    REQUESTED.load(Relaxed)
}

/// What ends a sleep.
pub(crate) struct Until {
    /// This word is not `seen`,
    pub(crate) moved: *const u32,
    pub(crate) seen: u32,
    /// or this one is not `running`,
    pub(crate) status: *const u32,
    pub(crate) running: u32,
    /// or so many nanoseconds have passed: `ETIMEDOUT`.
    pub(crate) timeout: u64,
}

/// Sleeps; a signal ends it with `EINTR`.
///
/// # Safety
///
/// Both words must be memory of the kernel during the call; anybody may write them.
pub(crate) unsafe fn sleep(until: Until) -> Result {
    let sleep = match global_system_interrupt() {
        0 => hcall_ring_look,
        _ => hcall_ring_sleep,
    };
    // SAFETY: both only compare the words, for which the caller vouches.
    to_result(unsafe {
        sleep(
            until.moved,
            until.seen,
            until.status,
            until.running,
            until.timeout,
        )
    })
}
