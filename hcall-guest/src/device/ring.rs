// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls of a process through a ring: in the steady state without a system call.

use super::mapping::Mapping;
use super::{request, Device, DeviceError};
use crate::ring::{
    self, Answer, Doorbell, Notify, Rest, RingFull, RingLayout, RingRegion, RingStatus,
};
use hcall_abi::convention::ARGUMENT_COUNT;
use hcall_abi::ring_protocol::{RingMemory, RingWord};
use hcall_abi::{decode_result, Errno, HypercallNumber};
use std::hint;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often [`Ring::wait`] looks before it asks the kernel to sleep, unless told otherwise.
const DEFAULT_SPINS: u32 = 2000;

/// The longest sleep; after it the state of the ring is looked at, in case an interrupt
/// was lost.
const SLEEP: Duration = Duration::from_millis(500);

/// Calls through memory that the process shares with the host.
///
/// The host executes what is submitted on a thread of its own, one call after the other, and
/// the answers come in the order of submission. As long as the host finds work it polls, and
/// neither side makes a system call or an exit; [`flush`](Self::flush) kicks it when it has
/// gone to sleep, and [`wait`](Self::wait) sleeps when there is no answer for a while.
///
/// What the process may call is enforced by the host, on every entry: numbers that
/// the file was restricted to before the ring was set up, and no call that passes guest
/// memory by its address. Such calls answer EPERM.
///
/// An open device has one ring at most. A ring is used by one thread at a time and can be
/// sent to another. A child of `fork` does not inherit the memory: one that goes on using
/// the ring is ended by SIGSEGV.
///
/// # Examples
///
/// ```no_run
/// use hcall_guest::device::Ring;
/// use hcall_guest::HypercallNumber;
///
/// const GREET: HypercallNumber = HypercallNumber::user(0x01);
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut ring = Ring::open(64)?;
/// for n in 0..64 {
///     ring.submit(GREET, &[n, 40], n)?;
/// }
/// while ring.outstanding() > 0 {
///     let answer = ring.wait()?;
///     assert_eq!(answer.result, Ok(answer.user_data + 40));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Ring {
    ring: ring::Ring<Kick>,
    /// Unmapped after `ring` is gone.
    _mapping: Mapping,
    entries: u32,
    /// Submitted and not yet shown to the host.
    unflushed: u32,
    spins: u32,
    requests: Requests,
}

/// How often a ring has asked the kernel for something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requests {
    /// The host had to be woken.
    pub kicks: u64,
    /// There was no answer for a while.
    pub waits: u64,
}

/// `RING_KICK` on an open device.
#[derive(Debug)]
struct Kick(Arc<Device>);

impl Doorbell for Kick {
    type Rung = Result<(), DeviceError>;

    fn ring(&self) -> Self::Rung {
        self.0.kick_ring()
    }
}

impl Ring {
    /// Opens `/dev/hcall` and sets up a ring for `entries` calls, which is a power of two.
    ///
    /// # Errors
    ///
    /// As [`Device::open`] and [`Ring::over`].
    pub fn open(entries: u32) -> Result<Self, DeviceError> {
        Self::over(Arc::new(Device::open()?), entries)
    }

    /// Sets up the one ring that an open device can have. Calls can be made through the
    /// device as well.
    ///
    /// # Errors
    ///
    /// [`DeviceError::RingEntries`] for a number of entries that no ring of this host can
    /// have, [`DeviceError::Call`] if the host refused, [`DeviceError::Request`] with EBUSY
    /// if the device has a ring already.
    pub fn over(device: Arc<Device>, entries: u32) -> Result<Self, DeviceError> {
        let limit = device.info().ring_entries;
        let layout = RingLayout::new(entries)
            .filter(|_| entries <= limit)
            .ok_or(DeviceError::RingEntries { entries, limit })?;
        let setup = request::ring_setup(device.file(), entries)
            .map_err(|errno| failed("RING_SETUP", errno))?;
        decode_result(setup.result)?;
        let length = usize::try_from(setup.bytes)
            .ok()
            .filter(|length| *length as u64 >= layout.bytes())
            .ok_or(DeviceError::Nonsense {
                call: "RING_SETUP",
                problem: "a length that is not the ring's",
            })?;
        let mapping = Mapping::new(device.file(), length)
            .map_err(|errno| failed("mmap", request::from_os(errno.raw_os_error())))?;
        // SAFETY: the mapping has at least the length of the layout, is writable, and lives
        // longer than the region, which alone has its address. That a file with one ring
        // gives it to one value of this type is what the module's EBUSY is for.
        let region = unsafe { RingRegion::new(mapping.start(), layout) };
        Ok(Self {
            ring: ring::Ring::new(region, Kick(device)),
            _mapping: mapping,
            entries,
            unflushed: 0,
            spins: DEFAULT_SPINS,
            requests: Requests::default(),
        })
    }

    /// How many calls can be outstanding.
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// The device that the ring belongs to.
    pub fn device(&self) -> &Arc<Device> {
        &self.ring.doorbell().0
    }

    /// How often [`wait`](Self::wait) looks for an answer before it sleeps. With 0 it sleeps
    /// at once, which is right where the host has no processor to spare.
    pub fn set_spins(&mut self, spins: u32) {
        self.spins = spins;
    }

    /// Writes a call into the ring; arguments that are not given are zero. `user_data` comes
    /// back with the answer. The host sees the call after [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`RingFull`] if as many calls are outstanding as there are entries.
    ///
    /// # Panics
    ///
    /// If there are more arguments than a call can carry.
    #[inline]
    pub fn submit(
        &mut self,
        number: HypercallNumber,
        arguments: &[u64],
        user_data: u64,
    ) -> Result<(), RingFull> {
        let mut all = [0; ARGUMENT_COUNT];
        all[..arguments.len()].copy_from_slice(arguments);
        self.ring.submit(number, all, user_data)?;
        self.unflushed += 1;
        Ok(())
    }

    /// Shows the host what was submitted, and wakes it if it sleeps: the one case of a system
    /// call.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Request`] if the kick failed.
    #[inline]
    pub fn flush(&mut self) -> Result<(), DeviceError> {
        match self.publish() {
            Notify::Nobody => Ok(()),
            Notify::Peer => self.kick(),
        }
    }

    /// Shows the host what was submitted, and says whether it must be woken by
    /// [`kick`](Self::kick). Makes no system call.
    #[inline]
    pub fn publish(&mut self) -> Notify {
        self.unflushed = 0;
        self.ring.publish()
    }

    /// Wakes the host.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Request`]
    pub fn kick(&mut self) -> Result<(), DeviceError> {
        self.requests.kicks += 1;
        self.ring.doorbell().ring()
    }

    /// Takes the next answer, if there is one. Makes no system call.
    #[inline]
    pub fn complete(&mut self) -> Option<Answer> {
        self.ring.complete()
    }

    /// Takes the next answer; looks for it for a while and then sleeps.
    ///
    /// Flushes what was submitted, unless there is an answer already and less than half of
    /// the ring is unflushed: so a loop that submits and waits in turn wakes the host for many
    /// calls at once.
    ///
    /// # Errors
    ///
    /// [`DeviceError::NothingOutstanding`] if none can come, [`DeviceError::RingEnded`] if
    /// none will.
    pub fn wait(&mut self) -> Result<Answer, DeviceError> {
        loop {
            if let Some(answer) = self.wait_for(SLEEP)? {
                return Ok(answer);
            }
        }
    }

    /// As [`wait`](Self::wait); `None` if none has come after `timeout`.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_for(&mut self, timeout: Duration) -> Result<Option<Answer>, DeviceError> {
        if self.unflushed < self.entries.div_ceil(2) {
            if let Some(answer) = self.ring.complete() {
                return Ok(Some(answer));
            }
        }
        self.flush()?;
        if self.outstanding() == 0 {
            return Err(DeviceError::NothingOutstanding);
        }
        for _ in 0..self.spins {
            if let Some(answer) = self.ring.complete() {
                return Ok(Some(answer));
            }
            hint::spin_loop();
        }
        let start = Instant::now();
        loop {
            // In this order: the last answer may come together with the end.
            let status = self.status();
            if let Some(answer) = self.ring.complete() {
                return Ok(Some(answer));
            }
            if status != RingStatus::Running {
                return Err(DeviceError::RingEnded(status));
            }
            let left = timeout.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            self.sleep(left.min(SLEEP))?;
        }
    }

    /// Sleeps until there may be an answer.
    fn sleep(&mut self, timeout: Duration) -> Result<(), DeviceError> {
        match self.ring.listen() {
            Rest::Stay => return Ok(()),
            Rest::Sleep => {}
        }
        self.requests.waits += 1;
        let seen = self.ring.memory().load_relaxed(RingWord::CompletionEvent);
        match request::ring_wait(self.device().file(), seen, timeout) {
            Ok(()) | Err(Errno::EINTR | Errno::ETIMEDOUT) => Ok(()),
            Err(errno) => Err(failed("RING_WAIT", errno)),
        }
    }

    /// Calls submitted whose answers have not been taken.
    pub fn outstanding(&self) -> u32 {
        self.ring.outstanding()
    }

    /// What the host says of the ring.
    pub fn status(&self) -> RingStatus {
        self.ring.status()
    }

    /// How often the kernel was asked for something so far; in the steady state the numbers
    /// stand still.
    pub fn requests(&self) -> Requests {
        self.requests
    }
}

fn failed(request: &'static str, errno: Errno) -> DeviceError {
    DeviceError::Request { request, errno }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hcall_abi::ioctl::DEVICE_PATH;

    #[test]
    fn without_a_device_the_error_names_it() {
        if !std::path::Path::new(DEVICE_PATH).exists() {
            let error = Ring::open(64).unwrap_err().to_string();
            assert!(error.contains(DEVICE_PATH), "{error}");
        }
    }

    #[test]
    fn it_can_be_sent_to_another_thread() {
        fn sendable<T: Send>() {}
        sendable::<Ring>();
    }
}
