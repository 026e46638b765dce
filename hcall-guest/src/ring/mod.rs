// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls through a ring: no exit for each, a thread of the host executes them.
//!
//! [`Ring`] is the guest's end of a ring that has been set up, wherever its memory came
//! from: a unikernel's own (`hcall_guest::unikernel::ring`), or a mapping of the kernel's in
//! a Linux process. It wants to be told two things: the memory, and how the doorbell is rung.
//!
//! One thread uses a ring at a time; several rings serve several threads.

mod doorbell;
mod region;

pub use doorbell::{Doorbell, MemoryDoorbell, PortDoorbell};
pub use hcall_abi::ring::{RingCompletion, RingEntry, RingLayout, RingStatus};
pub use hcall_abi::ring_protocol::{Notify, Rest, RingFull};
pub use region::RingRegion;

use hcall_abi::convention::Arguments;
use hcall_abi::ring_protocol::GuestHalf;
use hcall_abi::{decode_result, CallError, HypercallNumber};

/// The guest's end of a ring.
///
/// # Examples
///
/// ```no_run
/// use hcall_guest::ring::{Doorbell, Ring};
/// use hcall_guest::HypercallNumber;
///
/// const GREET: HypercallNumber = HypercallNumber::user(0x01);
///
/// fn greet(ring: &mut Ring<impl Doorbell>) {
///     for n in 0..8 {
///         ring.submit(GREET, [n, 40, 0, 0], n).expect("room for eight");
///     }
///     ring.flush();
///     while ring.outstanding() > 0 {
///         if let Some(answer) = ring.complete() {
///             assert_eq!(answer.result, Ok(answer.user_data + 40));
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Ring<D> {
    half: GuestHalf<RingRegion>,
    doorbell: D,
}

/// The answer to a call through a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// That of the entry.
    pub user_data: u64,
    /// What the host answered.
    pub result: Result<u64, CallError>,
}

impl<D: Doorbell> Ring<D> {
    /// The end of a ring that `RING_SETUP` has just set up in `region`, and whose doorbell
    /// is `doorbell`.
    pub fn new(region: RingRegion, doorbell: D) -> Self {
        let layout = region.layout();
        Self {
            half: GuestHalf::new(region, layout),
            doorbell,
        }
    }

    /// Writes an entry. The host sees it after [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`RingFull`] if as many calls are outstanding as the ring has entries.
    #[inline]
    pub fn submit(
        &mut self,
        number: HypercallNumber,
        arguments: Arguments,
        user_data: u64,
    ) -> Result<(), RingFull> {
        self.half
            .submit(&RingEntry::new(number, arguments, user_data))
    }

    /// Shows the host what was submitted, and rings the doorbell if the host sleeps;
    /// returns what the doorbell returned where it was rung.
    #[inline]
    pub fn flush(&mut self) -> Option<D::Rung> {
        match self.publish() {
            Notify::Peer => Some(self.doorbell.ring()),
            Notify::Nobody => None,
        }
    }

    /// As [`flush`](Self::flush), where somebody else rings the doorbell; says whether that
    /// must be done.
    #[inline]
    pub fn publish(&mut self) -> Notify {
        self.half.publish()
    }

    /// Takes the next answer, if there is one. They come in the order of submission.
    #[inline]
    pub fn complete(&mut self) -> Option<Answer> {
        let completion = self.half.complete()?;
        Some(Answer {
            user_data: completion.user_data,
            result: decode_result(completion.result),
        })
    }

    /// Calls submitted whose answers have not been taken.
    pub fn outstanding(&self) -> u32 {
        self.half.outstanding()
    }

    /// Asks for an interrupt at the next answer; says whether to wait for it.
    pub fn listen(&mut self) -> Rest {
        self.half.listen()
    }

    /// What the host says of the ring. An answer may still be there to be taken when it is
    /// no longer running.
    pub fn status(&self) -> RingStatus {
        self.half.status()
    }

    /// The memory.
    #[cfg(feature = "device")]
    pub(crate) fn memory(&self) -> &RingRegion {
        self.half.memory()
    }

    /// The doorbell.
    pub fn doorbell(&self) -> &D {
        &self.doorbell
    }
}
