// SPDX-License-Identifier: MIT OR Apache-2.0
//! `BATCH`: many calls for one exit.
//!
//! Entries are copied in by the chunk, each once; what is decided is decided by the copy, and
//! nothing but results is written back. The path allocates nothing.

use crate::hypercall::HypercallResult;
use crate::memory::CopyGuestMemory;
use hcall_abi::batch::{BatchEntry, ENTRY_ALIGNMENT, STOP_ON_ERROR};
use hcall_abi::convention::Arguments;
use hcall_abi::{Errno, Gpa, HypercallNumber};
use std::mem::offset_of;

/// Most entries of one batch.
pub const BATCH_LIMIT: u32 = 1024;

const ENTRY_BYTES: usize = size_of::<BatchEntry>();

/// Entries that are copied in at a time.
const CHUNK: usize = 16;

/// What the arguments of `BATCH` say, checked.
struct Batch {
    gpa: Gpa,
    count: usize,
    stops_on_error: bool,
}

impl Batch {
    /// `None` for a batch without entries, whose address is not looked at.
    fn check(
        memory: &dyn CopyGuestMemory,
        [gpa, count, flags, _]: Arguments,
    ) -> Result<Option<Self>, Errno> {
        if flags & !STOP_ON_ERROR != 0 {
            return Err(Errno::EINVAL);
        }
        if count == 0 {
            return Ok(None);
        }
        if count > u64::from(BATCH_LIMIT) {
            return Err(Errno::E2BIG);
        }
        if gpa % ENTRY_ALIGNMENT != 0 {
            return Err(Errno::EINVAL);
        }
        let (gpa, count) = (Gpa::new(gpa), count as usize);
        if !memory.contains(gpa, count * ENTRY_BYTES) {
            return Err(Errno::EFAULT);
        }
        Ok(Some(Self {
            gpa,
            count,
            stops_on_error: flags & STOP_ON_ERROR != 0,
        }))
    }

    /// Where the entry with this index stands; no overflow, as all of them are memory.
    fn entry(&self, index: usize) -> Gpa {
        Gpa::new(self.gpa.get() + (index * ENTRY_BYTES) as u64)
    }

    /// Where the result of the entry with this index stands.
    fn result(&self, index: usize) -> Gpa {
        Gpa::new(self.entry(index).get() + offset_of!(BatchEntry, result) as u64)
    }

    /// Whether the batch ends after an entry with this answer.
    fn ends_after(&self, answer: i64) -> bool {
        self.stops_on_error && answer < 0
    }
}

/// Whether a number may stand in an entry. Those that never reach a VMM may: they have
/// their own answers.
pub(crate) fn admits(number: u32) -> bool {
    HypercallNumber::new(number).map_or(true, HypercallNumber::may_be_batched)
}

/// Answers the batch that `arguments` name with what `answer` gives for each entry: its
/// result, and whether the VM ends here.
pub(crate) fn answer_all(
    memory: &dyn CopyGuestMemory,
    arguments: Arguments,
    mut answer: impl FnMut(&BatchEntry) -> (i64, bool),
) -> HypercallResult {
    let Some(batch) = Batch::check(memory, arguments)? else {
        return Ok(0);
    };
    let mut chunk = [[0; ENTRY_BYTES]; CHUNK];
    let mut results = [0; CHUNK];
    let mut answered = 0;
    let mut ended = false;
    while answered < batch.count && !ended {
        let entries = &mut chunk[..CHUNK.min(batch.count - answered)];
        memory.read(batch.entry(answered), entries.as_flattened_mut())?;
        let mut done = 0;
        for (bytes, result) in entries.iter().zip(&mut results) {
            let (answer, ends_vm) = answer(&BatchEntry::from_bytes(bytes));
            *result = answer as u64;
            done += 1;
            ended = ends_vm || batch.ends_after(answer);
            if ended {
                break;
            }
        }
        memory.write_spread(batch.result(answered), ENTRY_BYTES, &results[..done])?;
        answered += done;
    }
    Ok(answered as u64)
}
