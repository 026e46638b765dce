// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls that a handler has been asked for and has not answered, and those whose time was
//! up before it did.

use super::protocol::{Answer, ProtocolError, RANGES_MAX};
use super::reply::Reply;
use crate::hypercall::HypercallResult;
use crate::memory::CopyGuestMemory;
use hcall_abi::Gpa;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// How many calls that were given up are remembered one by one. A handler that is as far behind
/// as that can answer the older ones as often as it likes.
pub(super) const REMEMBERED: usize = 4096;

/// A call that waits for its answer.
pub(super) struct Pending {
    pub(super) deadline: Instant,
    pub(super) places: Places,
    pub(super) reply: Reply,
}

/// Where the answer's bytes go: to the places of which the handler was told, and no others.
pub(super) struct Places {
    pub(super) memory: Arc<dyn CopyGuestMemory>,
    pub(super) addresses: [Gpa; RANGES_MAX],
    /// Most bytes for each.
    pub(super) most: [u32; RANGES_MAX],
}

impl Places {
    /// Writes what the handler said, and returns what the guest is told.
    fn write(&self, answer: &Answer<'_>) -> HypercallResult {
        for (address, bytes) in self.addresses.iter().zip(answer.outputs) {
            if !bytes.is_empty() {
                self.memory.write(*address, bytes)?;
            }
        }
        answer.result
    }
}

impl Pending {
    /// Gives the guest what the frame's `body` says; if it is no answer, the call is still to
    /// be answered.
    pub(super) fn answer(self, body: &[u8]) -> Result<(), (Self, ProtocolError)> {
        match Answer::decode(body, &self.places.most) {
            Ok(answer) => {
                let result = self.places.write(&answer);
                self.reply.send(result);
                Ok(())
            }
            Err(error) => Err((self, error)),
        }
    }
}

/// What an answer is to.
pub(super) enum Answered {
    /// A call that waits for it.
    Pending(Pending),
    /// A call that was given up: the answer is too late, and nothing is wrong with it.
    Late,
    /// Nothing that was asked, or something that was answered before.
    Nothing,
}

/// See the module. Ids are given in order, and so are deadlines.
#[derive(Default)]
pub(super) struct Calls {
    last_id: u64,
    pending: BTreeMap<u64, Pending>,
    late: BTreeSet<u64>,
    /// All calls up to this one that do not wait are taken for late.
    forgotten: u64,
}

impl Calls {
    /// The id of the next call; ids begin with 1.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(super) fn add(&mut self, id: u64, pending: Pending) {
        self.pending.insert(id, pending);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// When the first call's time is up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let (_, first) = self.pending.first_key_value()?;
        Some(first.deadline)
    }

    /// Takes the call that an answer with this id is to.
    pub(super) fn take(&mut self, id: u64) -> Answered {
        if let Some(pending) = self.pending.remove(&id) {
            return Answered::Pending(pending);
        }
        if self.late.remove(&id) || (1..=self.forgotten).contains(&id) {
            return Answered::Late;
        }
        Answered::Nothing
    }

    /// Takes a call whose time was up at `now`. `is_unasked` says, and then sees to it, that
    /// the handler has not been and will not be asked: no answer can come, even late.
    pub(super) fn take_expired(
        &mut self,
        now: Instant,
        is_unasked: impl FnOnce(u64) -> bool,
    ) -> Option<Pending> {
        let first = self.pending.first_entry()?;
        if first.get().deadline > now {
            return None;
        }
        let (id, pending) = first.remove_entry();
        if !is_unasked(id) {
            self.late.insert(id);
        }
        if self.late.len() > REMEMBERED {
            self.forgotten = self.late.pop_first().unwrap_or(self.forgotten);
        }
        Some(pending)
    }

    /// Takes all of them.
    pub(super) fn take_all(&mut self) -> Vec<Pending> {
        std::mem::take(&mut self.pending).into_values().collect()
    }
}
