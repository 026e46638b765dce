// SPDX-License-Identifier: MIT OR Apache-2.0
//! Batches: many calls for one exit, put together in memory of the caller's own.

use crate::call::{hcall3, Error};
use hcall_abi::batch::{BatchEntry, STOP_ON_ERROR};
use hcall_abi::convention::{Arguments, ARGUMENT_COUNT};
use hcall_abi::number::BATCH;
use hcall_abi::{decode_result, CallError, Gpa, HypercallNumber};

/// What a batch does after an entry that the host answered with an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnError {
    /// Goes on with the next entry.
    #[default]
    Continue,
    /// Ends; later entries are not called.
    Stop,
}

impl OnError {
    /// The flags of the call.
    pub const fn flags(self) -> u64 {
        match self {
            Self::Continue => 0,
            Self::Stop => STOP_ON_ERROR,
        }
    }
}

/// Why a call cannot be added to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushError {
    /// All entries are used; there are this many.
    Full(usize),
    /// More arguments than a call can carry.
    TooManyArguments(usize),
}

impl core::fmt::Display for PushError {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Full(capacity) => write!(
                formatter,
                "the batch has memory for {capacity} calls, and all of it is used"
            ),
            Self::TooManyArguments(count) => write!(
                formatter,
                "{count} arguments were given, a hypercall carries at most {ARGUMENT_COUNT}"
            ),
        }
    }
}

impl core::error::Error for PushError {}

/// Calls that are made together, and their answers.
///
/// Made by `hcall_guest::unikernel::batch` in a unikernel, by `Device::batch` in a process,
/// and by [`call_at`](Self::call_at) elsewhere.
///
/// # Examples
///
/// ```
/// use hcall_guest::abi::batch::BatchEntry;
/// use hcall_guest::abi::number::ECHO;
/// use hcall_guest::batch::{Batch, PushError};
///
/// let mut memory = [BatchEntry::default(); 2];
/// let mut batch = Batch::new(&mut memory);
/// batch.push(ECHO, &[1])?;
/// batch.push(ECHO, &[2])?;
/// assert_eq!(batch.push(ECHO, &[3]), Err(PushError::Full(2)));
/// // Nothing is answered before the batch was made.
/// assert_eq!(batch.results().count(), 0);
/// # Ok::<(), PushError>(())
/// ```
#[derive(Debug)]
pub struct Batch<'memory> {
    memory: &'memory mut [BatchEntry],
    used: usize,
    answered: usize,
}

impl<'memory> Batch<'memory> {
    /// An empty batch, for as many calls as `memory` has entries.
    #[inline]
    pub fn new(memory: &'memory mut [BatchEntry]) -> Self {
        Self {
            memory,
            used: 0,
            answered: 0,
        }
    }

    /// Adds a call; arguments that are not given are zero. Returns its index.
    ///
    /// # Errors
    ///
    /// [`PushError`] if there is no room for it, or there are too many arguments.
    #[inline]
    pub fn push(&mut self, number: HypercallNumber, arguments: &[u64]) -> Result<usize, PushError> {
        if arguments.len() > ARGUMENT_COUNT {
            return Err(PushError::TooManyArguments(arguments.len()));
        }
        let mut all: Arguments = [0; ARGUMENT_COUNT];
        for (place, argument) in all.iter_mut().zip(arguments) {
            *place = *argument;
        }
        let capacity = self.memory.len();
        let entry = self
            .memory
            .get_mut(self.used)
            .ok_or(PushError::Full(capacity))?;
        *entry = BatchEntry::new(number, all);
        self.used += 1;
        Ok(self.used - 1)
    }

    /// How many calls the batch has.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Removes all calls and answers.
    pub fn clear(&mut self) {
        self.used = 0;
        self.answered = 0;
    }

    /// The calls.
    pub fn entries(&self) -> &[BatchEntry] {
        &self.memory[..self.used]
    }

    /// The answer to the call with this index, `None` if it was not answered: the batch has
    /// not been made, or has ended before.
    #[inline]
    pub fn result(&self, index: usize) -> Option<Result<u64, CallError>> {
        self.memory[..self.answered]
            .get(index)
            .map(|entry| decode_result(entry.result))
    }

    /// The answers, in the order of the calls; fewer than those if the batch has ended before.
    #[inline]
    pub fn results(&self) -> impl ExactSizeIterator<Item = Result<u64, CallError>> + '_ {
        self.memory[..self.answered]
            .iter()
            .map(|entry| decode_result(entry.result))
    }

    /// Makes the calls with one exit, for code at CPL 0; returns how many were answered.
    ///
    /// # Errors
    ///
    /// Those of `BATCH`: nothing was called then.
    ///
    /// # Safety
    ///
    /// `gpa` must be the guest-physical address of [`entries`](Self::entries), which must be
    /// contiguous there. What the calls themselves make the host do to memory must be the
    /// caller's to have done.
    pub unsafe fn call_at(&mut self, gpa: Gpa, on_error: OnError) -> Result<usize, Error> {
        self.answered = 0;
        let answer = hcall3(BATCH, gpa.get(), self.used as u64, on_error.flags())?;
        self.set_answered(answer)?;
        Ok(self.answered)
    }

    /// The entries for the host to write, none of them answered yet.
    #[cfg(any(
        test,
        feature = "device",
        all(feature = "unikernel", target_os = "none")
    ))]
    pub(crate) fn entries_mut(&mut self) -> &mut [BatchEntry] {
        self.answered = 0;
        &mut self.memory[..self.used]
    }

    /// Notes how many entries the host says it has answered.
    pub(crate) fn set_answered(&mut self, answer: u64) -> Result<(), CallError> {
        match usize::try_from(answer) {
            Ok(answered) if answered <= self.used => {
                self.answered = answered;
                Ok(())
            }
            _ => Err(CallError::Malformed(answer as i64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hcall_abi::number::ECHO;

    #[test]
    fn answers_are_those_of_the_entries_that_were_answered() {
        let mut memory = [BatchEntry::default(); 4];
        let mut batch = Batch::new(&mut memory);
        for value in 0..3 {
            assert_eq!(batch.push(ECHO, &[value]), Ok(value as usize));
        }
        for (entry, result) in batch.entries_mut().iter_mut().zip([5, -38, 7]) {
            entry.result = result;
        }
        batch.set_answered(2).unwrap();
        let errno = CallError::Errno(hcall_abi::Errno::ENOSYS);
        assert_eq!(batch.results().collect::<Vec<_>>(), [Ok(5), Err(errno)]);
        assert_eq!(batch.result(1), Some(Err(errno)));
        assert_eq!(batch.result(2), None);
        // Every entry anew: nothing of the last round is left.
        batch.clear();
        assert!(batch.is_empty());
        assert_eq!(batch.results().len(), 0);
    }

    #[test]
    fn more_answers_than_entries_are_no_answer() {
        let mut memory = [BatchEntry::default(); 4];
        let mut batch = Batch::new(&mut memory);
        batch.push(ECHO, &[1]).unwrap();
        assert_eq!(batch.set_answered(2), Err(CallError::Malformed(2)));
        assert_eq!(batch.results().len(), 0);
    }

    #[test]
    fn too_many_arguments_are_refused() {
        let mut memory = [BatchEntry::default(); 1];
        let mut batch = Batch::new(&mut memory);
        let refused = batch.push(ECHO, &[0; 5]);
        assert_eq!(refused, Err(PushError::TooManyArguments(5)));
        assert!(batch.is_empty());
    }
}
