// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine for rings: guest memory, a host, and wiring that keeps the eventfds.

use crate::fake_vcpu::{FakeVcpu, OFFERED};
use hcall_abi::number::{RING_SETUP, RING_TEARDOWN};
use hcall_abi::ring::{RingLayout, RingSetup, DOORBELL_PORT};
use hcall_abi::{Errno, Transport};
use hcall_guest::ring::{Doorbell, Ring, RingRegion};
use hcall_vmm::ring::{Doorbell as Wire, RingConfig, RingWiring, WiringError};
use hcall_vmm::{Disposition, HypercallHost};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use vm_memory::{Bytes, GuestAddress, GuestMemory, GuestMemoryMmap};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::EventFd;

/// Size of guest memory.
pub(crate) const MEMORY: usize = 1 << 20;
/// Where the tests put the structure of `RING_SETUP`.
pub(crate) const DESCRIPTOR: u64 = 0x1000;
/// Where they put rings.
pub(crate) const REGION: u64 = 0x1_0000;
/// The interrupt that the wiring has to give.
pub(crate) const GSI: u32 = 5;

/// Nothing that a test waits for takes as long.
const LIMIT: Duration = Duration::from_secs(20);

/// Eventfds of the rings that are connected.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestWiring {
    doorbells: Arc<Mutex<BTreeMap<u32, EventFd>>>,
    interrupts: Arc<Mutex<BTreeMap<u32, EventFd>>>,
}

impl TestWiring {
    pub(crate) fn doorbell(&self, ring: u32) -> EventFd {
        let event = lock(&self.doorbells)[&ring].try_clone();
        event.expect("a descriptor can be copied")
    }

    pub(crate) fn interrupt(&self) -> EventFd {
        let event = lock(&self.interrupts)[&GSI].try_clone();
        event.expect("a descriptor can be copied")
    }

    /// How many doorbells and interrupts are connected.
    pub(crate) fn connected(&self) -> (usize, usize) {
        (lock(&self.doorbells).len(), lock(&self.interrupts).len())
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RingWiring for TestWiring {
    fn connect_doorbell(&self, ring: u32, event: &EventFd) -> Result<Wire, WiringError> {
        let event = event.try_clone().expect("a descriptor can be copied");
        assert!(lock(&self.doorbells).insert(ring, event).is_none());
        Ok(Wire::Port {
            port: 0xe8,
            value: ring,
        })
    }

    fn disconnect_doorbell(&self, ring: u32, _: &EventFd) {
        assert!(lock(&self.doorbells).remove(&ring).is_some());
    }

    fn connect_interrupt(&self, gsi: u32, event: &EventFd) -> Result<(), WiringError> {
        if gsi != GSI {
            return Err(WiringError::InterruptTaken);
        }
        let event = event.try_clone().expect("a descriptor can be copied");
        assert!(lock(&self.interrupts).insert(gsi, event).is_none());
        Ok(())
    }

    fn disconnect_interrupt(&self, gsi: u32, _: &EventFd) {
        assert!(lock(&self.interrupts).remove(&gsi).is_some());
    }
}

/// The guest's doorbell: what KVM does for its write.
#[derive(Debug)]
pub(crate) struct TestDoorbell(pub(crate) EventFd);

impl Doorbell for TestDoorbell {
    type Rung = ();

    fn ring(&self) {
        self.0.write(1).expect("the counter is far from full");
    }
}

/// A host with rings, and its guest's memory.
pub(crate) struct Machine {
    pub(crate) host: HypercallHost,
    pub(crate) memory: GuestMemoryMmap,
    pub(crate) wiring: TestWiring,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self::with(|config| config.poll = Duration::from_micros(50))
    }

    pub(crate) fn with(change: impl FnOnce(&mut RingConfig)) -> Self {
        Self::build(|host| host, change)
    }

    /// A machine whose host is prepared so, before it has rings.
    pub(crate) fn of(prepare: impl FnOnce(HypercallHost) -> HypercallHost) -> Self {
        Self::build(prepare, |_| {})
    }

    fn build(
        prepare: impl FnOnce(HypercallHost) -> HypercallHost,
        change: impl FnOnce(&mut RingConfig),
    ) -> Self {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)])
            .expect("guest memory can be mapped");
        let mut config = RingConfig::default();
        change(&mut config);
        let wiring = TestWiring::default();
        let host = prepare(HypercallHost::without_kvm(memory.clone(), OFFERED)).with_rings(
            memory.clone(),
            wiring.clone(),
            config,
        );
        Self {
            host,
            memory,
            wiring,
        }
    }

    /// Makes a call by the instruction; the result as the guest has it.
    pub(crate) fn call(&self, number: u32, arguments: [u64; 4]) -> i64 {
        self.call_at(0, number, arguments)
    }

    pub(crate) fn call_at(&self, cpl: u32, number: u32, arguments: [u64; 4]) -> i64 {
        let mut vcpu = FakeVcpu::new();
        vcpu.cpl = cpl;
        vcpu.trap(number.into(), arguments);
        let disposition = self.host.dispatch(&mut vcpu, 0, Transport::Instruction);
        assert_eq!(disposition, Disposition::Resume);
        vcpu.answer()
    }

    pub(crate) fn try_set_up(&self, setup: &RingSetup) -> i64 {
        self.try_set_up_at(0, setup)
    }

    pub(crate) fn try_set_up_at(&self, cpl: u32, setup: &RingSetup) -> i64 {
        self.memory
            .write_slice(&setup.to_bytes(), GuestAddress(DESCRIPTOR))
            .expect("the descriptor is memory");
        let length = size_of::<RingSetup>() as u64;
        self.call_at(cpl, RING_SETUP.get(), [DESCRIPTOR, length, 0, 0])
    }

    /// Sets a ring up; returns its identifier and the guest's end.
    pub(crate) fn set_up(&self, setup: &RingSetup) -> (u32, Ring<TestDoorbell>) {
        let id = u32::try_from(self.try_set_up(setup)).expect("the ring is set up");
        let mut bytes = [0; size_of::<RingSetup>()];
        self.memory
            .read_slice(&mut bytes, GuestAddress(DESCRIPTOR))
            .expect("the descriptor is memory");
        let answered = RingSetup::from_bytes(&bytes);
        assert_eq!(answered.doorbell_kind, DOORBELL_PORT);
        assert_eq!(answered.doorbell_value, id);
        let doorbell = TestDoorbell(self.wiring.doorbell(id));
        (id, Ring::new(self.region(setup), doorbell))
    }

    /// The memory of a ring as the guest maps it.
    pub(crate) fn region(&self, setup: &RingSetup) -> RingRegion {
        let layout = RingLayout::new(setup.entries).expect("a power of two");
        let host_address = self
            .memory
            .get_slice(GuestAddress(setup.gpa), layout.bytes() as usize)
            .expect("the region is memory")
            .ptr_guard_mut()
            .as_ptr();
        let base = NonNull::new(host_address).expect("mapped memory is not at zero");
        // SAFETY: the mapping lives as long as the machine, which every test keeps; a test
        // touches the region by atomics only.
        unsafe { RingRegion::new(base, layout) }
    }

    pub(crate) fn tear_down(&self, ring: u32) -> i64 {
        self.call(RING_TEARDOWN.get(), [ring.into(), 0, 0, 0])
    }
}

/// A ring of `entries`, every number admitted.
pub(crate) fn setup(entries: u32) -> RingSetup {
    RingSetup {
        gpa: REGION,
        bytes: RingLayout::new(entries).map_or(0, RingLayout::bytes),
        entries,
        ..RingSetup::default()
    }
}

pub(crate) fn errno(errno: Errno) -> i64 {
    -i64::from(errno.get())
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        std::thread::yield_now();
    }
}

/// Waits for an interrupt.
pub(crate) struct InterruptWait {
    epoll: Epoll,
    event: EventFd,
}

impl InterruptWait {
    pub(crate) fn new(event: EventFd) -> Self {
        let epoll = Epoll::new().expect("an epoll instance");
        epoll
            .ctl(
                ControlOperation::Add,
                std::os::fd::AsRawFd::as_raw_fd(&event),
                EpollEvent::new(EventSet::IN, 0),
            )
            .expect("an eventfd can be waited for");
        Self { epoll, event }
    }

    pub(crate) fn wait(&self) {
        let mut events = [EpollEvent::default()];
        let limit = LIMIT.as_millis() as i32;
        let ready = self.epoll.wait(limit, &mut events).expect("a wait");
        assert_eq!(ready, 1, "no interrupt within {LIMIT:?}");
        let _ = self.event.read();
    }
}

/// The directory of the calling thread in /proc, for [`run_time`].
pub(crate) fn this_thread() -> PathBuf {
    let link = fs::read_link("/proc/thread-self").expect("a thread knows itself");
    Path::new("/proc").join(link)
}

/// Nanoseconds that a thread has run.
pub(crate) fn run_time(thread: &Path) -> u64 {
    let statistics = fs::read_to_string(thread.join("schedstat")).expect("the thread lives");
    let time = statistics.split(' ').next().map(str::parse);
    let time = time.expect("a first word").expect("nanoseconds");
    assert!(time > 0, "the kernel counts the time of threads");
    time
}
