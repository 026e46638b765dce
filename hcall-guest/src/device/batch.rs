// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many calls for one system call and one exit.

use super::{request, Device, DeviceError};
use crate::batch::{Batch, OnError};
use hcall_abi::decode_result;
use hcall_abi::ioctl::BATCH_MAX;

impl Device {
    /// Makes the calls of `batch`, at most [`BATCH_MAX`]; returns how many were answered.
    /// Their answers are in the batch.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Call`] if the host answered the batch as a whole with an errno, which is
    /// ENOSYS if it has none. The other variants say why no call was made;
    /// [`DeviceError::BatchRefused`] that one of them may not be.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use hcall_guest::abi::{batch::BatchEntry, number::ECHO};
    /// use hcall_guest::batch::{Batch, OnError};
    /// use hcall_guest::device::Device;
    ///
    /// let mut memory = [BatchEntry::default(); 64];
    /// let mut batch = Batch::new(&mut memory);
    /// for value in 0..64 {
    ///     batch.push(ECHO, &[value]).expect("there is memory for 64");
    /// }
    /// Device::open()?.batch(&mut batch, OnError::Continue)?;
    /// assert!(batch.results().eq((0..64).map(Ok)));
    /// # Ok::<(), hcall_guest::device::DeviceError>(())
    /// ```
    pub fn batch(&self, batch: &mut Batch<'_>, on_error: OnError) -> Result<usize, DeviceError> {
        if batch.len() > BATCH_MAX as usize {
            return Err(DeviceError::BatchTooLong(batch.len()));
        }
        let raw = request::batch(self.file(), batch.entries_mut(), on_error)
            .map_err(request::batch_failure)?;
        batch.set_answered(decode_result(raw)?)?;
        Ok(batch.results().len())
    }
}
