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
    let mut answered = 0;
    while answered < batch.count {
        let entries = &mut chunk[..CHUNK.min(batch.count - answered)];
        memory.read(batch.entry(answered), entries.as_flattened_mut())?;
        for bytes in entries {
            let (result, ends_vm) = answer(&BatchEntry::from_bytes(bytes));
            let place = batch.entry(answered).get() + offset_of!(BatchEntry, result) as u64;
            memory.write(Gpa::new(place), &result.to_le_bytes())?;
            answered += 1;
            if ends_vm || batch.ends_after(result) {
                return Ok(answered as u64);
            }
        }
    }
    Ok(answered as u64)
}
