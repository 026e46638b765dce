// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The two halves of a ring: who moves which index, when, and in which order of memory
//! accesses. Written over a trait for the shared memory, so that the same code runs over
//! guest memory, over a process's mapping of it, and in a model checker.
//!
//! * A half keeps its own indices privately and only publishes them. What the peer
//!   publishes it checks, and remembers until it needs more.
//! * Entries and completions are written before the index that covers them is stored with
//!   release, and read after that index was loaded with acquire.
//! * Who wants to be woken stores the index of the entry that shall wake it, executes a full
//!   fence, and looks again. Who publishes an index executes a full fence, and reads which
//!   entry shall wake. One of the two therefore sees the other, and nobody sleeps on work.
//! * A guest has at most as many calls outstanding as a queue has entries: then neither
//!   queue can overflow. A host that meets a guest with more stops taking entries until
//!   there is room again.

use super::ring::{
    passed, RingCompletion, RingEntry, RingLayout, RingStatus, COMPLETION_EVENT, COMPLETION_HEAD,
    COMPLETION_TAIL, REASON, REASON_COMPLETION, REASON_SUBMISSION, STATUS, STATUS_BROKEN,
    STATUS_CLOSED, STATUS_RUNNING, SUBMISSION_EVENT, SUBMISSION_HEAD, SUBMISSION_TAIL,
};

/// A word of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
#[non_exhaustive]
pub enum RingWord {
    /// Entries submitted; the guest's.
    SubmissionTail = SUBMISSION_TAIL,
    /// Entries taken; the host's.
    SubmissionHead = SUBMISSION_HEAD,
    /// Completions posted; the host's.
    CompletionTail = COMPLETION_TAIL,
    /// Completions taken; the guest's.
    CompletionHead = COMPLETION_HEAD,
    /// The entry for which the host wants the doorbell.
    SubmissionEvent = SUBMISSION_EVENT,
    /// The completion for which the guest wants an interrupt.
    CompletionEvent = COMPLETION_EVENT,
    /// State of the ring; the host's.
    Status = STATUS,
    /// Why it is broken; the host's.
    Reason = REASON,
}

impl RingWord {
    /// Where the word stands in the region.
    pub const fn offset(self) -> u64 {
        self as u64
    }
}

/// The memory of a ring, shared with a peer that may write to it at any time.
///
/// Entries are addressed by index: the implementation takes the place from
/// [`RingLayout::submission`] and [`RingLayout::completion`], so that no index leads out
/// of the region. An entry is copied once.
pub trait RingMemory {
    /// Loads a word with no order.
    fn load_relaxed(&self, word: RingWord) -> u32;
    /// Loads a word; later accesses stay after it.
    fn load_acquire(&self, word: RingWord) -> u32;
    /// Stores a word with no order.
    fn store_relaxed(&self, word: RingWord, value: u32);
    /// Stores a word; earlier accesses stay before it.
    fn store_release(&self, word: RingWord, value: u32);
    /// A full fence: a load after it is not executed before a store ahead of it.
    fn fence(&self);
    /// Copies a submission entry out.
    fn read_entry(&self, index: u32) -> RingEntry;
    /// Copies a submission entry in.
    fn write_entry(&self, index: u32, entry: &RingEntry);
    /// Copies a completion out.
    fn read_completion(&self, index: u32) -> RingCompletion;
    /// Copies a completion in.
    fn write_completion(&self, index: u32, completion: &RingCompletion);
}

/// Whether the peer wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Notify {
    /// It sleeps or is about to: ring the doorbell, or raise the interrupt.
    Peer,
    /// It looks by itself.
    Nobody,
}

/// Whether a half that has announced to sleep may do so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Rest {
    /// There is nothing to do, and the peer will tell when there is.
    Sleep,
    /// There is something to do already.
    Stay,
}

/// The guest's half.
#[derive(Debug)]
pub struct GuestHalf<M> {
    memory: M,
    layout: RingLayout,
    /// Entries written, and those of them that the host can see.
    submitted: u32,
    published: u32,
    /// Completions read, and those known to be posted.
    taken: u32,
    posted: u32,
}

/// There is no room for another entry until a completion has been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingFull;

impl core::fmt::Display for RingFull {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("the ring is full; take completions first")
    }
}

impl core::error::Error for RingFull {}

impl<M: RingMemory> GuestHalf<M> {
    /// The guest's half of a ring that `RING_SETUP` has just set up in `memory`.
    pub fn new(memory: M, layout: RingLayout) -> Self {
        Self::starting_at(memory, layout, 0)
    }

    /// As [`new`](Self::new), where both halves start at another index: for tests of what
    /// happens at the end of the indices.
    pub fn starting_at(memory: M, layout: RingLayout, index: u32) -> Self {
        Self {
            memory,
            layout,
            submitted: index,
            published: index,
            taken: index,
            posted: index,
        }
    }

    /// The shared memory.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Calls submitted whose completions have not been taken.
    pub fn outstanding(&self) -> u32 {
        self.submitted.wrapping_sub(self.taken)
    }

    /// Writes an entry. The host sees it after [`publish`](Self::publish).
    ///
    /// # Errors
    ///
    /// [`RingFull`] if as many calls are outstanding as a queue has entries.
    #[inline]
    pub fn submit(&mut self, entry: &RingEntry) -> Result<(), RingFull> {
        if self.outstanding() >= self.layout.entries() {
            return Err(RingFull);
        }
        self.memory.write_entry(self.submitted, entry);
        self.submitted = self.submitted.wrapping_add(1);
        Ok(())
    }

    /// Shows the host all entries written, and what completions were taken; says whether
    /// the doorbell must be rung.
    #[inline]
    pub fn publish(&mut self) -> Notify {
        // Before the tail: a host that sees the entries sees the room for their completions.
        self.memory
            .store_release(RingWord::CompletionHead, self.taken);
        let (old, new) = (self.published, self.submitted);
        if old == new {
            return Notify::Nobody;
        }
        self.memory.store_release(RingWord::SubmissionTail, new);
        self.published = new;
        self.memory.fence();
        let event = self.memory.load_relaxed(RingWord::SubmissionEvent);
        if passed(event, old, new) {
            Notify::Peer
        } else {
            Notify::Nobody
        }
    }

    /// Takes the next completion, if one is posted.
    #[inline]
    pub fn complete(&mut self) -> Option<RingCompletion> {
        if self.taken == self.posted && !self.look() {
            return None;
        }
        let completion = self.memory.read_completion(self.taken);
        self.taken = self.taken.wrapping_add(1);
        Some(completion)
    }

    /// Looks for completions; never believes in more than there are calls outstanding.
    fn look(&mut self) -> bool {
        let posted = self.memory.load_acquire(RingWord::CompletionTail);
        let expected = self.published.wrapping_sub(self.taken);
        if posted.wrapping_sub(self.taken) <= expected {
            self.posted = posted;
        }
        self.taken != self.posted
    }

    /// Asks for an interrupt at the next completion; says whether there is one already.
    pub fn listen(&mut self) -> Rest {
        if self.taken != self.posted {
            return Rest::Stay;
        }
        self.memory
            .store_relaxed(RingWord::CompletionEvent, self.taken);
        self.memory.fence();
        if self.look() || self.status() != RingStatus::Running {
            Rest::Stay
        } else {
            Rest::Sleep
        }
    }

    /// What the host says of the ring.
    pub fn status(&self) -> RingStatus {
        let status = self.memory.load_acquire(RingWord::Status);
        RingStatus::from_words(status, self.memory.load_relaxed(RingWord::Reason))
    }
}

/// The host's half. The peer is hostile: whatever it writes, this half reads and writes
/// nothing outside the region, and takes no more entries than there can be.
#[derive(Debug)]
pub struct HostHalf<M> {
    memory: M,
    layout: RingLayout,
    /// Entries taken, and those known to be submitted.
    taken: u32,
    submitted: u32,
    /// Completions posted, those of them that the guest can see, and those known to be
    /// taken by it.
    posted: u32,
    published: u32,
    released: u32,
}

/// What the host finds at the head of the submission queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Taken {
    /// A copy of the next entry; it must be answered by one [`HostHalf::post`].
    Entry(RingEntry),
    /// Nothing.
    Empty,
    /// The completion queue has no room; look again after a doorbell.
    NoRoom,
}

/// What no correct guest does to a ring; the host serves it no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingDamage {
    /// More entries submitted than there is room for.
    Submission,
    /// More completions taken than were posted.
    Completion,
}

impl RingDamage {
    /// The reason as it stands in the header.
    pub const fn reason(self) -> u32 {
        match self {
            Self::Submission => REASON_SUBMISSION,
            Self::Completion => REASON_COMPLETION,
        }
    }
}

impl core::fmt::Display for RingDamage {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(match self {
            Self::Submission => "the guest submitted more entries than the ring has",
            Self::Completion => "the guest took more completions than were posted",
        })
    }
}

impl core::error::Error for RingDamage {}

impl<M: RingMemory> HostHalf<M> {
    /// Writes the header of a new ring, before the guest knows that there is one. The host
    /// counts as asleep: the first entry rings the doorbell.
    pub fn prepare(memory: &M) {
        Self::prepare_at(memory, 0);
    }

    /// As [`prepare`](Self::prepare), where both halves start at another index: for tests of
    /// what happens at the end of the indices.
    pub fn prepare_at(memory: &M, index: u32) {
        for word in [
            RingWord::SubmissionTail,
            RingWord::SubmissionHead,
            RingWord::CompletionTail,
            RingWord::CompletionHead,
            RingWord::SubmissionEvent,
        ] {
            memory.store_relaxed(word, index);
        }
        // The last index there is: no interrupt is wanted.
        memory.store_relaxed(RingWord::CompletionEvent, index.wrapping_sub(1));
        memory.store_relaxed(RingWord::Reason, 0);
        memory.store_release(RingWord::Status, STATUS_RUNNING);
    }

    /// The host's half of a ring whose header was [prepared](Self::prepare).
    pub fn new(memory: M, layout: RingLayout) -> Self {
        Self::starting_at(memory, layout, 0)
    }

    /// As [`new`](Self::new), after [`prepare_at`](Self::prepare_at).
    pub fn starting_at(memory: M, layout: RingLayout, index: u32) -> Self {
        Self {
            memory,
            layout,
            taken: index,
            submitted: index,
            posted: index,
            published: index,
            released: index,
        }
    }

    /// The shared memory.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Takes the next entry, if there is one and room for its completion.
    ///
    /// # Errors
    ///
    /// [`RingDamage`]; the ring must then be given up by [`break_down`](Self::break_down).
    #[inline]
    pub fn take(&mut self) -> Result<Taken, RingDamage> {
        if !self.has_entries()? {
            return Ok(Taken::Empty);
        }
        if !self.has_room()? {
            return Ok(Taken::NoRoom);
        }
        let entry = self.memory.read_entry(self.taken);
        self.taken = self.taken.wrapping_add(1);
        Ok(Taken::Entry(entry))
    }

    /// Whether there is an entry to be taken.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    #[inline]
    pub fn has_entries(&mut self) -> Result<bool, RingDamage> {
        Ok(self.taken != self.submitted || self.look()?)
    }

    /// Looks for entries.
    fn look(&mut self) -> Result<bool, RingDamage> {
        let submitted = self.memory.load_acquire(RingWord::SubmissionTail);
        self.layout
            .occupied(self.taken, submitted)
            .ok_or(RingDamage::Submission)?;
        self.submitted = submitted;
        Ok(self.taken != submitted)
    }

    fn has_room(&mut self) -> Result<bool, RingDamage> {
        let entries = self.layout.entries();
        if self.posted.wrapping_sub(self.released) < entries {
            return Ok(true);
        }
        let released = self.memory.load_acquire(RingWord::CompletionHead);
        let occupied = self
            .layout
            .occupied(released, self.posted)
            .ok_or(RingDamage::Completion)?;
        self.released = released;
        Ok(occupied < entries)
    }

    /// Writes the completion of the entry taken first of those not yet answered. The guest
    /// sees it after [`publish`](Self::publish).
    #[inline]
    pub fn post(&mut self, completion: &RingCompletion) {
        debug_assert!(self.posted != self.taken, "nothing to answer");
        self.memory.write_completion(self.posted, completion);
        self.posted = self.posted.wrapping_add(1);
    }

    /// Shows the guest all completions written; says whether it wants an interrupt.
    #[inline]
    pub fn publish(&mut self) -> Notify {
        let (old, new) = (self.published, self.posted);
        if old == new {
            return Notify::Nobody;
        }
        self.memory
            .store_relaxed(RingWord::SubmissionHead, self.taken);
        self.memory.store_release(RingWord::CompletionTail, new);
        self.published = new;
        self.memory.fence();
        let event = self.memory.load_relaxed(RingWord::CompletionEvent);
        if passed(event, old, new) {
            Notify::Peer
        } else {
            Notify::Nobody
        }
    }

    /// Asks for the doorbell at the next entry; says whether there is one already.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn listen(&mut self) -> Result<Rest, RingDamage> {
        self.memory
            .store_relaxed(RingWord::SubmissionEvent, self.taken);
        self.memory.fence();
        Ok(if self.look()? {
            Rest::Stay
        } else {
            Rest::Sleep
        })
    }

    /// Tells the guest that the host serves the ring no more. Entries not taken are not
    /// executed.
    pub fn close(self) {
        self.memory.store_release(RingWord::Status, STATUS_CLOSED);
    }

    /// Tells the guest that the ring is broken, and why.
    pub fn break_down(self, reason: u32) {
        self.memory.store_relaxed(RingWord::Reason, reason);
        self.memory.store_release(RingWord::Status, STATUS_BROKEN);
    }
}
