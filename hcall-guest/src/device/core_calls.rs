// SPDX-License-Identifier: MIT OR Apache-2.0
//! The core calls with types, for processes.

use super::{Buffer, Device, DeviceError};
use hcall_abi::ioctl::BUFFER_MAX;
use hcall_abi::layout::{Clock, GuestInfo, Stats, TimeValue};
use hcall_abi::version::PROBE_MAGIC;
use hcall_abi::{number, AbiVersion, HypercallNumber};
use std::mem::size_of;
use std::time::Duration;

impl Device {
    /// Asks the host which version of the ABI it speaks.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Nonsense`] if the answer lacks the magic, besides those of
    /// [`Device::call`].
    pub fn probe(&self) -> Result<AbiVersion, DeviceError> {
        let answer = self.hcall0(number::PROBE)?;
        if answer >> 32 != u64::from(PROBE_MAGIC) {
            return Err(DeviceError::Nonsense {
                call: "PROBE",
                problem: "something without the ABI's magic",
            });
        }
        Ok(AbiVersion::new(answer as u32))
    }

    /// Returns `value` by way of the host.
    ///
    /// # Errors
    ///
    /// −ERANGE if bit 63 of `value` is set, which no answer can carry.
    pub fn echo(&self, value: u64) -> Result<u64, DeviceError> {
        self.hcall1(number::ECHO, value)
    }

    /// The frequency of the time-stamp counter in kHz.
    ///
    /// # Errors
    ///
    /// −ENODATA if the host does not know it.
    pub fn tsc_khz(&self) -> Result<u64, DeviceError> {
        self.hcall0(number::TSC_KHZ)
    }

    /// Writes all of `bytes` to the console of the VM, in as many calls as it takes.
    ///
    /// # Errors
    ///
    /// As [`Device::call`]; some of the bytes may have been written then.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use hcall_guest::device::Device;
    ///
    /// Device::open()?.console_write(b"hello from a process\n")?;
    /// # Ok::<(), hcall_guest::device::DeviceError>(())
    /// ```
    pub fn console_write(&self, bytes: &[u8]) -> Result<(), DeviceError> {
        for mut chunk in bytes.chunks(self.chunk_length()) {
            while !chunk.is_empty() {
                let written =
                    self.call_buffer(number::CONSOLE_WRITE, &[], Buffer::In(chunk), &[])?;
                chunk = rest("CONSOLE_WRITE", written, chunk.len()).map(|from| &chunk[from..])?;
            }
        }
        Ok(())
    }

    /// Fills all of `bytes` with randomness from the host, in as many calls as it takes.
    ///
    /// # Errors
    ///
    /// As [`Device::call`]; some of the bytes may have been filled then.
    pub fn random(&self, bytes: &mut [u8]) -> Result<(), DeviceError> {
        let length = self.chunk_length();
        for mut chunk in bytes.chunks_mut(length) {
            while !chunk.is_empty() {
                let filled = self.call_buffer(number::RANDOM, &[], Buffer::Out(chunk), &[])?;
                let from = rest("RANDOM", filled, chunk.len())?;
                chunk = &mut chunk[from..];
            }
        }
        Ok(())
    }

    /// The host's clock: time since 1970 for [`Clock::Realtime`], since a moment before the
    /// VM started for [`Clock::Monotonic`].
    ///
    /// # Errors
    ///
    /// As [`Device::call`], and [`DeviceError::Nonsense`] if a second would have more than
    /// 10^9 nanoseconds.
    pub fn time(&self, clock: Clock) -> Result<Duration, DeviceError> {
        let value: TimeValue = self.read_structure(number::TIME, &[clock.raw()])?;
        if value.nanoseconds >= 1_000_000_000 {
            return Err(DeviceError::Nonsense {
                call: "TIME",
                problem: "a second of more than 10^9 nanoseconds",
            });
        }
        Ok(Duration::new(value.seconds, value.nanoseconds))
    }

    /// What the host says of the VM.
    ///
    /// # Errors
    ///
    /// As [`Device::call`].
    pub fn guest_info(&self) -> Result<GuestInfo, DeviceError> {
        self.read_structure(number::GUEST_INFO, &[])
    }

    /// The host's counters of this VM's calls.
    ///
    /// # Errors
    ///
    /// As [`Device::call`].
    pub fn stats(&self) -> Result<Stats, DeviceError> {
        self.read_structure(number::STATS, &[])
    }

    /// How much one call can carry: what the device takes, and the host.
    fn chunk_length(&self) -> usize {
        match self.info().buffer_bytes {
            0 => BUFFER_MAX as usize,
            host => host.min(BUFFER_MAX) as usize,
        }
    }

    /// Has the host write a structure; what an older host does not write is zero.
    fn read_structure<T: Structure>(
        &self,
        number: HypercallNumber,
        before: &[u64],
    ) -> Result<T, DeviceError> {
        let mut structure = T::default();
        // SAFETY: `T: Structure` has no padding and takes every byte; the borrow is exclusive.
        let bytes = unsafe {
            std::slice::from_raw_parts_mut((&raw mut structure).cast::<u8>(), size_of::<T>())
        };
        self.call_buffer(number, before, Buffer::Out(bytes), &[])?;
        Ok(structure)
    }
}

/// Where the rest of a buffer of `length` bytes begins when `done` of them were done.
fn rest(call: &'static str, done: u64, length: usize) -> Result<usize, DeviceError> {
    let problem = match usize::try_from(done) {
        Ok(0) => "no progress",
        Ok(done) if done <= length => return Ok(done),
        _ => "more bytes than it was given",
    };
    Err(DeviceError::Nonsense { call, problem })
}

/// A structure of the ABI that the host writes.
///
/// # Safety
///
/// `repr(C)`, integers only, no padding.
unsafe trait Structure: Default {}

// SAFETY: two words and a reserved one; `hcall_abi::layout` asserts size and offsets.
unsafe impl Structure for TimeValue {}
// SAFETY: as above.
unsafe impl Structure for GuestInfo {}
// SAFETY: as above.
unsafe impl Structure for Stats {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_must_be_possible() {
        assert_eq!(rest("RANDOM", 3, 4), Ok(3));
        assert_eq!(rest("RANDOM", 4, 4), Ok(4));
        assert!(rest("RANDOM", 0, 4).is_err());
        assert!(rest("RANDOM", 5, 4).is_err());
        assert!(rest("RANDOM", u64::MAX, 4).is_err());
    }
}
