// SPDX-License-Identifier: MIT OR Apache-2.0
//! A ring that its owner serves on a thread of his own choosing: for fuzzing, where the same
//! input must have the same effect each time.

use super::bell::Bell;
use super::config::RingConfig;
use super::region::{self, HostRegion};
use super::request::Request;
use super::service::{Burst, Service};
use super::RingId;
use crate::confinement::Confinement;
use crate::hypercall::{Cpl, Mode};
use crate::HypercallHost;
use hcall_abi::ring_protocol::{HostHalf, RingDamage};
use hcall_abi::{Errno, Gpa};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use vm_memory::bitmap::MS;
use vm_memory::GuestMemory;

/// A ring without a thread, a doorbell and an interrupt.
pub struct InlineRing<'memory, M: GuestMemory> {
    service: Service,
    half: HostHalf<HostRegion<'memory, MS<'memory, M>>>,
}

impl<'memory, M: GuestMemory + Send + Sync> InlineRing<'memory, M> {
    /// The ring that the structure at `descriptor` asks for, for calls to `host`.
    ///
    /// # Errors
    ///
    /// What `RING_SETUP` would be answered with.
    pub fn set_up(
        host: &HypercallHost,
        memory: &'memory M,
        descriptor: Gpa,
        length: u64,
    ) -> Result<Self, Errno> {
        let config = RingConfig {
            poll: Duration::ZERO,
            ..RingConfig::default()
        };
        let request = Request::read(memory, descriptor, length, &config)?;
        let region = region::find(memory, request.gpa, request.layout)?;
        HostHalf::prepare(&region);
        let service = Service {
            id: RingId(0),
            dispatcher: host.dispatcher().without_rings(),
            policy: request.policy,
            cpl: Some(Cpl::KERNEL),
            mode: Some(Mode::Bits64),
            poll: config.poll,
            bell: Arc::new(Bell::new().map_err(|_| Errno::ENOMEM)?),
            interrupt: None,
            confinement: Confinement::default(),
        };
        Ok(Self {
            service,
            half: HostHalf::new(region, request.layout),
        })
    }

    /// Answers the entries that are there, up to one burst; says whether there may be more.
    ///
    /// # Errors
    ///
    /// [`RingDamage`] if the guest has damaged the ring.
    pub fn serve(&mut self) -> Result<bool, RingDamage> {
        Ok(self.service.burst(&mut self.half)? == Burst::Full)
    }

    /// Ends it as the thread of a ring would.
    pub fn end(self, damage: Option<RingDamage>) {
        match damage {
            None => self.half.close(),
            Some(damage) => self.half.break_down(damage.reason()),
        }
    }
}

impl<M: GuestMemory> fmt::Debug for InlineRing<'_, M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("InlineRing").finish_non_exhaustive()
    }
}
