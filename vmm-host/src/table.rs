// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers by number.
//!
//! Every vCPU looks numbers up while others register and remove: a look-up reads one
//! immutable snapshot and never waits; a change builds the next snapshot and publishes
//! it. A call that has begun is finished by the handler it found.

use crate::dispatch::Answer;
use crate::hypercall::{Hypercall, HypercallResult};
use crate::ring::RingRequest;
use arc_swap::{ArcSwap, Cache};
use hcall_abi::number::{BATCH, CORE_FIRST, RING_SETUP, RING_TEARDOWN, USER_LAST};
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
}

/// Who answers a number.
pub(crate) enum Answerer {
    /// A function of the call.
    Handler(Box<dyn Answer>),
    /// The dispatch itself, with the answers to a batch of calls.
    Batch,
    /// The dispatch itself, with what it has of rings.
    Ring(RingRequest),
}

/// Who answers a number, and who may call it.
pub(crate) struct Entry {
    pub(crate) number: HypercallNumber,
    pub(crate) answerer: Answerer,
    /// `None`: whoever the VM's policy lets.
    pub(crate) callers: Option<Callers>,
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

    fn find_entry(&self, number: HypercallNumber) -> Option<&Entry> {
        self.find(number.get().into())
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
}

impl HypercallTable {
    /// An empty table.
    pub fn new() -> Self {
        Self {
            current: ArcSwap::from_pointee(Snapshot::empty()),
            change: Mutex::new(()),
        }
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
        self.insert(number, None, Answerer::Handler(Box::new(handler)))
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
        self.insert(number, Some(callers), Answerer::Handler(Box::new(handler)))
    }

    /// Has the dispatch answer `BATCH`.
    pub(crate) fn register_batch(&self) -> Result<(), TableError> {
        self.insert(BATCH, None, Answerer::Batch)
    }

    /// Has the dispatch answer `RING_SETUP` and `RING_TEARDOWN`.
    pub(crate) fn register_rings(&self) -> Result<(), TableError> {
        self.insert(RING_SETUP, None, Answerer::Ring(RingRequest::SetUp))?;
        self.insert(RING_TEARDOWN, None, Answerer::Ring(RingRequest::TearDown))
    }

    fn insert(
        &self,
        number: HypercallNumber,
        callers: Option<Callers>,
        answerer: Answerer,
    ) -> Result<(), TableError> {
        self.change(|snapshot| {
            if snapshot.find_entry(number).is_some() {
                return Err(TableError::Duplicate(number));
            }
            let entry = Entry {
                number,
                answerer,
                callers,
            };
            snapshot.put(number, Some(Arc::new(entry)));
            Ok(())
        })
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
        self.change(|snapshot| {
            let old = snapshot
                .find_entry(number)
                .ok_or(TableError::NotRegistered(number))?;
            let entry = Entry {
                number,
                answerer: Answerer::Handler(Box::new(handler)),
                callers: old.callers,
            };
            snapshot.put(number, Some(Arc::new(entry)));
            Ok(())
        })
    }

    /// Removes the handler of `number`; a call that has begun is still answered by it.
    ///
    /// # Errors
    ///
    /// [`TableError::NotRegistered`] if it has none.
    pub fn remove(&self, number: HypercallNumber) -> Result<(), TableError> {
        self.change(|snapshot| {
            snapshot
                .find_entry(number)
                .ok_or(TableError::NotRegistered(number))?;
            snapshot.put(number, None);
            Ok(())
        })
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
        let direct = snapshot
            .direct
            .iter()
            .flatten()
            .flat_map(|page| page.iter().flatten());
        formatter
            .debug_struct("HypercallTable")
            .field("handlers", &(direct.count() + snapshot.foreign.len()))
            .finish_non_exhaustive()
    }
}
