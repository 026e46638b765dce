// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! What `BATCH` does: all entries copied in once, every one of them checked, one call, the
//! results copied out.

use crate::abi::batch::{BatchEntry, STOP_ON_ERROR};
use crate::abi::ioctl::{Batch, BATCH_MAX};
use crate::abi::number::BATCH;
use crate::buffer::gpa_of;
use crate::device::OpenFile;
use crate::policy::Address;
use crate::{host, user};
use core::mem::offset_of;
use kernel::prelude::*;
use kernel::uaccess::UserSlice;

/// `BATCH`.
pub(crate) fn batch(file: &OpenFile, pointer: UserPtr) -> Result {
    let batch: Batch = user::read(pointer)?;
    if batch.count > BATCH_MAX || u64::from(batch.flags) & !STOP_ON_ERROR != 0 {
        return Err(EINVAL);
    }
    let mut entries = Entries::copy_in(UserPtr::from_addr(batch.entries as usize), batch.count)?;
    entries.check(file)?;

    let arguments = [entries.gpa(), batch.count.into(), batch.flags.into(), 0];
    let result = host::call(file.host(), BATCH, &arguments)?;
    entries.copy_out(result)?;
    user::write_result(pointer, offset_of!(Batch, result), result)
}

/// The entries of a batch, in memory that the host reads and writes during the call. It is
/// kmalloc's, and so contiguous for the host too.
struct Entries {
    entries: KVec<BatchEntry>,
    /// Where they came from.
    process: UserPtr,
}

impl Entries {
    fn copy_in(process: UserPtr, count: u32) -> Result<Self> {
        let mut entries = KVec::from_elem(BatchEntry::default(), count as usize, GFP_KERNEL)?;
        let length = size_of_val::<[BatchEntry]>(&entries);
        // SAFETY: the entries' own memory, borrowed exclusively; `repr(C)` integers without
        // padding, so that its bytes are initialized, and any bytes are entries.
        let bytes =
            unsafe { core::slice::from_raw_parts_mut(entries.as_mut_ptr().cast::<u8>(), length) };
        UserSlice::new(process, length).reader().read_slice(bytes)?;
        Ok(Self { entries, process })
    }

    /// Checks what the process wrote, all of it before any call is made; and takes out what
    /// the host has no use for.
    fn check(&mut self, file: &OpenFile) -> Result {
        if !self.entries.iter().all(BatchEntry::is_well_formed) {
            return Err(EINVAL);
        }
        for entry in self.entries.iter_mut() {
            file.admit(entry.number, Address::Process)?;
            entry.result = 0;
        }
        Ok(())
    }

    fn gpa(&mut self) -> u64 {
        if self.entries.is_empty() {
            return 0;
        }
        gpa_of(self.entries.as_mut_ptr().cast())
    }

    /// Copies the results out of the entries that the host says it has answered.
    fn copy_out(&self, result: i64) -> Result {
        let answered = usize::try_from(result).unwrap_or(0);
        for (index, entry) in self.entries.iter().take(answered).enumerate() {
            let place = self
                .process
                .wrapping_byte_add(index * size_of::<BatchEntry>());
            user::write_result(place, offset_of!(BatchEntry, result), entry.result)?;
        }
        Ok(())
    }
}
