// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rings of a VM: set up, torn down, all closed at the end.

use super::bell::Bell;
use super::config::RingConfig;
use super::interrupts::Interrupts;
use super::region;
use super::request::Request;
use super::service::Service;
use super::wiring::{Doorbell, RingWiring};
use super::RingId;
use crate::confinement::Confinement;
use crate::dispatch::Dispatcher;
use crate::hypercall::{Hypercall, HypercallResult};
use hcall_abi::ring::RingLayout;
use hcall_abi::ring_protocol::HostHalf;
use hcall_abi::{Errno, Gpa};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use vm_memory::GuestMemory;
use vmm_sys_util::eventfd::EventFd;

/// The core calls of rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingRequest {
    SetUp,
    TearDown,
}

/// The rings of a VM.
pub(crate) struct Rings {
    config: RingConfig,
    wiring: Box<dyn RingWiring>,
    interrupts: Interrupts,
    memory: Box<dyn SpawnService>,
    confinement: Confinement,
    slots: Mutex<Vec<Slot>>,
}

/// A place for a ring; its index is the ring's identifier.
enum Slot {
    Free,
    /// A ring is being set up or torn down here; outside the lock, as both take time.
    Busy,
    Running(Running),
}

/// A ring with its thread.
struct Running {
    id: RingId,
    bell: Arc<Bell>,
    interrupt: Option<u32>,
    thread: JoinHandle<()>,
}

/// Guest memory that rings can stand in.
trait SpawnService: Send + Sync {
    /// Whether a ring can stand there.
    fn check(&self, gpa: Gpa, layout: RingLayout) -> Result<(), Errno>;

    /// Starts the thread of a ring that was [checked](Self::check).
    fn spawn(
        &self,
        gpa: Gpa,
        layout: RingLayout,
        service: Service,
    ) -> std::io::Result<JoinHandle<()>>;
}

impl<M: GuestMemory + Clone + Send + Sync + 'static> SpawnService for M {
    fn check(&self, gpa: Gpa, layout: RingLayout) -> Result<(), Errno> {
        region::find(self, gpa, layout).map(drop)
    }

    fn spawn(
        &self,
        gpa: Gpa,
        layout: RingLayout,
        service: Service,
    ) -> std::io::Result<JoinHandle<()>> {
        // Before the guest knows of the ring: from then on the header is shared.
        if let Ok(region) = region::find(self, gpa, layout) {
            HostHalf::prepare(&region);
        }
        // The thread has the mapping itself: it outlives whatever the VMM does.
        let memory = self.clone();
        Builder::new()
            .name(format!("ring-{}", service.id))
            .spawn(move || {
                let region = region::find(&memory, gpa, layout)
                    .expect("guest memory is as it was when the ring was checked");
                service.run(region, layout);
            })
    }
}

impl Rings {
    pub(crate) fn new<M: GuestMemory + Clone + Send + Sync + 'static>(
        memory: M,
        wiring: impl RingWiring + 'static,
        config: RingConfig,
        confinement: Confinement,
    ) -> Self {
        Self {
            confinement,
            slots: Mutex::new((0..config.rings).map(|_| Slot::Free).collect()),
            config,
            wiring: Box::new(wiring),
            interrupts: Interrupts::default(),
            memory: Box::new(memory),
        }
    }

    /// Most entries of a ring.
    pub(crate) fn entries_limit(&self) -> u32 {
        self.config.entries
    }

    /// Answers a core call of rings.
    pub(crate) fn answer(
        &self,
        request: RingRequest,
        dispatcher: &Dispatcher,
        call: &Hypercall<'_>,
    ) -> HypercallResult {
        match request {
            RingRequest::SetUp => self.set_up(dispatcher, call),
            RingRequest::TearDown => self.tear_down(call.arg::<0>()),
        }
    }

    fn set_up(&self, dispatcher: &Dispatcher, call: &Hypercall<'_>) -> HypercallResult {
        let [descriptor, length, ..] = call.args();
        let memory = call.memory();
        let request = Request::read(memory, Gpa::new(descriptor), length, &self.config)?;
        self.memory.check(request.gpa, request.layout)?;
        let (cpl, mode) = (Some(call.cpl()?), Some(call.mode()?));
        let id = self.reserve()?;
        let service = |bell, interrupt| Service {
            id,
            dispatcher: dispatcher.without_rings(),
            policy: request.policy,
            cpl,
            mode,
            poll: self.config.poll,
            bell,
            interrupt,
            confinement: self.confinement.clone(),
        };
        match self.start(id, &request, service) {
            Ok((running, doorbell)) => {
                let mut setup = request.setup;
                doorbell.describe(&mut setup);
                if let Err(error) = memory.write(request.descriptor, &setup.to_bytes()) {
                    self.finish(running);
                    return Err(error.into());
                }
                self.put(id, Slot::Running(running));
                Ok(id.get().into())
            }
            Err(errno) => {
                self.put(id, Slot::Free);
                Err(errno)
            }
        }
    }

    /// Takes a place for a ring.
    fn reserve(&self) -> Result<RingId, Errno> {
        let mut slots = self.slots();
        let free = (0..)
            .zip(slots.iter_mut())
            .find(|(_, slot)| matches!(slot, Slot::Free));
        let (id, slot) = free.ok_or(Errno::ENOSPC)?;
        *slot = Slot::Busy;
        Ok(RingId(id))
    }

    /// Connects and starts a ring; undoes everything if something fails.
    fn start(
        &self,
        id: RingId,
        request: &Request,
        service: impl FnOnce(Arc<Bell>, Option<Arc<EventFd>>) -> Service,
    ) -> Result<(Running, Doorbell), Errno> {
        let bell = Arc::new(Bell::new().map_err(|_| Errno::ENOMEM)?);
        let interrupt = request.interrupt;
        let event = match interrupt {
            Some(gsi) => Some(self.interrupts.connect(&*self.wiring, gsi)?),
            None => None,
        };
        let doorbell = match self.wiring.connect_doorbell(id.get(), &bell.event) {
            Ok(doorbell) => doorbell,
            Err(error) => {
                self.disconnect_interrupt(interrupt);
                return Err(error.into());
            }
        };
        let service = service(Arc::clone(&bell), event);
        match self.memory.spawn(request.gpa, request.layout, service) {
            Ok(thread) => {
                let running = Running {
                    id,
                    bell,
                    interrupt,
                    thread,
                };
                Ok((running, doorbell))
            }
            Err(error) => {
                tracing::error!(%error, "cannot start the thread of a ring");
                self.wiring.disconnect_doorbell(id.get(), &bell.event);
                self.disconnect_interrupt(interrupt);
                Err(Errno::ENOMEM)
            }
        }
    }

    fn disconnect_interrupt(&self, gsi: Option<u32>) {
        if let Some(gsi) = gsi {
            self.interrupts.disconnect(&*self.wiring, gsi);
        }
    }

    fn tear_down(&self, id: u64) -> HypercallResult {
        let running = {
            let mut slots = self.slots();
            let slot = usize::try_from(id).ok().and_then(|id| slots.get_mut(id));
            let slot = slot.ok_or(Errno::ENOENT)?;
            take_running(slot).ok_or(Errno::ENOENT)?
        };
        self.finish(running);
        Ok(0)
    }

    /// Ends a ring whose place is busy, and frees the place.
    fn finish(&self, running: Running) {
        running.bell.stop();
        if running.thread.join().is_err() {
            tracing::error!(ring = %running.id, "the thread of a ring panicked");
        }
        self.disconnect_interrupt(running.interrupt);
        self.wiring
            .disconnect_doorbell(running.id.get(), &running.bell.event);
        self.put(running.id, Slot::Free);
    }

    /// Has every ring pause; whether all did within `limit`.
    pub(crate) fn pause(&self, limit: Duration) -> bool {
        let bells: Vec<Arc<Bell>> = self
            .slots()
            .iter()
            .filter_map(|slot| match slot {
                Slot::Running(running) => Some(Arc::clone(&running.bell)),
                Slot::Free | Slot::Busy => None,
            })
            .collect();
        let start = Instant::now();
        for bell in &bells {
            bell.pause();
        }
        bells
            .iter()
            .all(|bell| bell.wait_until_parked(limit.saturating_sub(start.elapsed())))
    }

    /// Has every ring go on.
    pub(crate) fn resume(&self) {
        for slot in self.slots().iter() {
            if let Slot::Running(running) = slot {
                running.bell.resume();
            }
        }
    }

    /// Ends every ring; the threads have ended when it returns.
    pub(crate) fn close(&self) {
        let running: Vec<Running> = self.slots().iter_mut().filter_map(take_running).collect();
        for ring in &running {
            ring.bell.stop();
        }
        for ring in running {
            self.finish(ring);
        }
    }

    fn put(&self, id: RingId, slot: Slot) {
        self.slots()[id.get() as usize] = slot;
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        // Every change of a slot is one assignment.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ring of a place, which is busy from now on.
fn take_running(slot: &mut Slot) -> Option<Running> {
    if !matches!(slot, Slot::Running(_)) {
        return None;
    }
    match std::mem::replace(slot, Slot::Busy) {
        Slot::Running(running) => Some(running),
        Slot::Free | Slot::Busy => None,
    }
}

impl fmt::Debug for Rings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Rings")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
