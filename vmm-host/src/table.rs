// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers by number.
//!
//! Every vCPU looks numbers up while others register and remove: a look-up reads one
//! immutable snapshot and never waits; a change builds the next snapshot and publishes
//! it. A call that has begun is finished by the handler it found.

mod outside;

use crate::dispatch::Answer;
use crate::hypercall::{Hypercall, HypercallResult};
use crate::observation::{Observation, Watched};
use crate::ring::RingRequest;
use arc_swap::{ArcSwap, Cache};
use hcall_abi::number::{BATCH, CORE_FIRST, RING_SETUP, RING_TEARDOWN, USER_FIRST, USER_LAST};
use hcall_abi::HypercallNumber;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

/// What answers a number: any function of the call, with state of its own if it likes.
///
/// It runs on the thread of the vCPU that called, perhaps on several at once.
pub trait Handler: Fn(&mut Hypercall<'_>) -> HypercallResult + Send + Sync + 'static {}

impl<F> Handler for F where F: Fn(&mut Hypercall<'_>) -> HypercallResult + Send + Sync + 'static {}

/// Who may make a call, by the privilege level of the vCPU that traps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Callers {
    /// CPL 0 only; others are answered −EPERM. The default: otherwise any process of the
    /// guest could go around its kernel.
    #[default]
    KernelOnly,
    /// Every privilege level.
    AnyPrivilegeLevel,
}

/// Why a registration or removal was refused. The table is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The number has a handler already.
    #[error("hypercall {0} has a handler already; remove it first")]
    Duplicate(HypercallNumber),
    /// The number has no handler.
    #[error("hypercall {0} has no handler")]
    NotRegistered(HypercallNumber),
    /// The number is in the core range, on which guests rely.
    #[error(
        "hypercall {0} is one of hcall's core calls, which cannot be changed from outside; \
         your own belong to {USER_FIRST:#x}..={USER_LAST:#x}"
    )]
    CoreCall(HypercallNumber),
}

/// Who answers a number.
pub(crate) enum Answerer {
    /// A function of the call.
    Handler(Box<dyn Answer>),
    /// The dispatch itself, with the answers to a batch of calls.
    Batch,
    /// The dispatch itself, with what it has of rings.
    Ring(RingRequest),
    /// Another one, whose calls are watched.
    Watched(Box<Watched>),
}

fn answerer(handler: impl Handler) -> Answerer {
    Answerer::Handler(Box::new(handler))
}

/// Who answers a number, and who may call it.
pub(crate) struct Entry {
    pub(crate) number: HypercallNumber,
    pub(crate) answerer: Answerer,
    /// `None`: whoever the VM's policy lets.
    pub(crate) callers: Option<Callers>,
    owner: Owner,
}

/// Whose handler a number has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Owner {
    /// hcall's own: a core call.
    Core,
    /// The program that runs the VM.
    Program,
    /// Whoever brought it from outside; the text names where from.
    Source(Arc<str>),
}

impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Core => formatter.write_str("core"),
            Self::Program => formatter.write_str("program"),
            Self::Source(source) => formatter.write_str(source),
        }
    }
}

/// What a table holds for a number.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registration {
    /// The number.
    pub number: HypercallNumber,
    /// Whose handler it has.
    pub owner: Owner,
    /// Who may call it; `None`: whoever the VM's policy lets.
    pub callers: Option<Callers>,
}

/// Numbers per page of the direct range.
const PAGE_NUMBERS: usize = 256;
/// Pages of the direct range: the core and user numbers of hcall.
const PAGES: usize = (USER_LAST - CORE_FIRST + 1) as usize / PAGE_NUMBERS;

type Page = [Option<Arc<Entry>>; PAGE_NUMBERS];

/// One immutable state of the table. hcall's own ranges are found by two indexations,
/// foreign numbers by a hash: neither takes longer where there are more handlers.
#[derive(Clone)]
pub(crate) struct Snapshot {
    direct: [Option<Arc<Page>>; PAGES],
    foreign: ForeignNumbers,
}

type ForeignNumbers = HashMap<u32, Arc<Entry>, BuildHasherDefault<NumberHasher>>;

/// Multiplies by 2^64 divided by the golden ratio (Knuth, TAOCP 6.4). Which numbers are in
/// the table is for the VMM to say, so a guest cannot choose any that collide.
#[derive(Clone, Copy, Default)]
struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u32(&mut self, number: u32) {
        let product = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // The map looks at both ends of the hash; the upper bits are the well-mixed ones.
        self.0 = product ^ (product >> 32);
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32((*byte).into());
        }
    }
}

impl Snapshot {
    fn empty() -> Self {
        Self {
            direct: [const { None }; PAGES],
            foreign: ForeignNumbers::default(),
        }
    }

    /// Page and place in it of a number of hcall's own ranges.
    #[inline]
    fn place(number: u64) -> Option<(usize, usize)> {
        let offset = number.wrapping_sub(CORE_FIRST.into());
        let offset = usize::try_from(offset).ok()?;
        (offset < PAGES * PAGE_NUMBERS).then_some((offset / PAGE_NUMBERS, offset % PAGE_NUMBERS))
    }

    /// The entry of `number`, which may be one that nobody can have.
    pub(crate) fn find(&self, number: u64) -> Option<&Entry> {
        self.find_own(number).or_else(|| {
            let number = u32::try_from(number).ok()?;
            self.foreign.get(&number).map(Arc::as_ref)
        })
    }

    /// The same of hcall's own ranges alone.
    #[inline]
    pub(crate) fn find_own(&self, number: u64) -> Option<&Entry> {
        let (page, place) = Self::place(number)?;
        self.direct[page].as_ref()?[place].as_deref()
    }

    /// Every entry, by hcall's own ranges first.
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        let pages = self.direct.iter().flatten();
        let direct = pages.flat_map(|page| page.iter().flatten());
        direct.chain(self.foreign.values()).map(Arc::as_ref)
    }

    fn find_entry(&self, number: HypercallNumber) -> Option<&Entry> {
        self.find(number.get().into())
    }

    /// Adds the entry of a number that has none.
    fn add(&mut self, entry: Entry) -> Result<(), TableError> {
        if self.find_entry(entry.number).is_some() {
            return Err(TableError::Duplicate(entry.number));
        }
        self.put(entry.number, Some(Arc::new(entry)));
        Ok(())
    }

    /// Puts the entry in the place of the one that the number has, for the same callers.
    fn exchange(&mut self, entry: Entry) -> Result<(), TableError> {
        let old = self
            .find_entry(entry.number)
            .ok_or(TableError::NotRegistered(entry.number))?;
        let entry = Entry {
            callers: old.callers,
            ..entry
        };
        self.put(entry.number, Some(Arc::new(entry)));
        Ok(())
    }

    /// Removes the entry of a number that has one.
    fn take(&mut self, number: HypercallNumber) -> Result<(), TableError> {
        self.find_entry(number)
            .ok_or(TableError::NotRegistered(number))?;
        self.put(number, None);
        Ok(())
    }

    fn put(&mut self, number: HypercallNumber, entry: Option<Arc<Entry>>) {
        match Self::place(number.get().into()) {
            Some((page, place)) => {
                let page = self.direct[page]
                    .get_or_insert_with(|| Arc::new([const { None }; PAGE_NUMBERS]));
                Arc::make_mut(page)[place] = entry;
            }
            None => {
                match entry {
                    Some(entry) => self.foreign.insert(number.get(), entry),
                    None => self.foreign.remove(&number.get()),
                };
            }
        }
    }
}

/// The handlers of a VM, by number.
///
/// # Examples
///
/// ```
/// use hcall_vmm::{HypercallNumber, HypercallTable, TableError};
///
/// const GREET: HypercallNumber = HypercallNumber::user(0x01);
///
/// let table = HypercallTable::new();
/// table.register(GREET, |call| Ok(call.args()[0] + 1))?;
/// assert_eq!(table.register(GREET, |_| Ok(0)), Err(TableError::Duplicate(GREET)));
/// assert!(table.contains(GREET));
/// table.remove(GREET)?;
/// # Ok::<(), TableError>(())
/// ```
pub struct HypercallTable {
    current: ArcSwap<Snapshot>,
    /// Held by whoever builds the next snapshot; look-ups never take it.
    change: Mutex<()>,
    observation: Observation,
}

impl HypercallTable {
    /// An empty table.
    pub fn new() -> Self {
        Self {
            current: ArcSwap::from_pointee(Snapshot::empty()),
            change: Mutex::new(()),
            observation: Observation::default(),
        }
    }

    /// An empty table whose calls are observed so.
    pub(crate) fn observed(observation: Observation) -> Self {
        Self {
            observation,
            ..Self::new()
        }
    }

    pub(crate) fn observation(&self) -> &Observation {
        &self.observation
    }

    /// Registers `handler` for `number`, callable by whom the VM's policy lets.
    ///
    /// # Errors
    ///
    /// [`TableError::Duplicate`] if the number has a handler.
    pub fn register(
        &self,
        number: HypercallNumber,
        handler: impl Handler,
    ) -> Result<(), TableError> {
        self.insert(number, None, Owner::Program, answerer(handler))
    }

    /// Registers `handler` for `number` and says who may call it, whatever the VM's policy.
    ///
    /// # Errors
    ///
    /// [`TableError::Duplicate`] if the number has a handler.
    pub fn register_for(
        &self,
        callers: Callers,
        number: HypercallNumber,
        handler: impl Handler,
    ) -> Result<(), TableError> {
        self.insert(number, Some(callers), Owner::Program, answerer(handler))
    }

    /// Registers the handler of a core call.
    pub(crate) fn register_core(
        &self,
        number: HypercallNumber,
        handler: impl Handler,
    ) -> Result<(), TableError> {
        self.insert(number, None, Owner::Core, answerer(handler))
    }

    /// Has the dispatch answer `BATCH`.
    pub(crate) fn register_batch(&self) -> Result<(), TableError> {
        self.insert(BATCH, None, Owner::Core, Answerer::Batch)
    }

    /// Has the dispatch answer `RING_SETUP` and `RING_TEARDOWN`.
    pub(crate) fn register_rings(&self) -> Result<(), TableError> {
        for (number, request) in [
            (RING_SETUP, RingRequest::SetUp),
            (RING_TEARDOWN, RingRequest::TearDown),
        ] {
            self.insert(number, None, Owner::Core, Answerer::Ring(request))?;
        }
        Ok(())
    }

    fn insert(
        &self,
        number: HypercallNumber,
        callers: Option<Callers>,
        owner: Owner,
        answerer: Answerer,
    ) -> Result<(), TableError> {
        let entry = self.entry(number, callers, owner, answerer);
        self.change(|snapshot| snapshot.add(entry))
    }

    /// An entry as it goes into the table: watched, if the host is.
    fn entry(
        &self,
        number: HypercallNumber,
        callers: Option<Callers>,
        owner: Owner,
        answerer: Answerer,
    ) -> Entry {
        Entry {
            number,
            answerer: self.observation.wrap(number, answerer),
            callers,
            owner,
        }
    }

    /// Puts `handler` in the place of the one that `number` has, so that no call in
    /// between finds none.
    ///
    /// # Errors
    ///
    /// [`TableError::NotRegistered`] if it has none.
    pub fn replace(
        &self,
        number: HypercallNumber,
        handler: impl Handler,
    ) -> Result<(), TableError> {
        let entry = self.entry(number, None, Owner::Program, answerer(handler));
        self.change(|snapshot| snapshot.exchange(entry))
    }

    /// Removes the handler of `number`; a call that has begun is still answered by it.
    ///
    /// # Errors
    ///
    /// [`TableError::NotRegistered`] if it has none.
    pub fn remove(&self, number: HypercallNumber) -> Result<(), TableError> {
        self.change(|snapshot| snapshot.take(number))
    }

    /// What the table holds at the moment, by number.
    pub fn registrations(&self) -> Vec<Registration> {
        let snapshot = self.current.load();
        let mut registrations: Vec<Registration> = snapshot
            .entries()
            .map(|entry| Registration {
                number: entry.number,
                owner: entry.owner.clone(),
                callers: entry.callers,
            })
            .collect();
        registrations.sort_unstable_by_key(|registration| registration.number);
        registrations
    }

    /// Whether `number` has a handler.
    pub fn contains(&self, number: HypercallNumber) -> bool {
        self.current.load().find_entry(number).is_some()
    }

    /// The table as one thread remembers it, and looks at it again when it has changed.
    pub(crate) fn cache(&self) -> TableCache<'_> {
        TableCache(Cache::new(&self.current))
    }

    pub(crate) fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.current.load()
    }

    fn change(
        &self,
        edit: impl FnOnce(&mut Snapshot) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        // The lock guards no data, so a panic of another holder leaves nothing broken.
        let _changing = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&self.current.load());
        edit(&mut next)?;
        self.current.store(Arc::new(next));
        Ok(())
    }
}

/// See [`HypercallTable::cache`].
pub(crate) struct TableCache<'table>(Cache<&'table ArcSwap<Snapshot>, Arc<Snapshot>>);

impl TableCache<'_> {
    /// The table's present state.
    #[inline]
    pub(crate) fn load(&mut self) -> &Snapshot {
        self.0.load()
    }
}

impl Default for HypercallTable {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for HypercallTable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.current.load();
        formatter
            .debug_struct("HypercallTable")
            .field("handlers", &snapshot.entries().count())
            .finish_non_exhaustive()
    }
}
