// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers that come later.

use crate::abi::{HostFunctions, RawDeferred};
use crate::call::HypercallResult;
use crate::host::newer;
use hcall_abi::{encode_result, Errno};
use std::fmt;
use std::mem;

/// The right to answer a call, once, from any thread: see
/// [`Call::defer`](crate::Call::defer). Dropped unanswered, it answers −EIO.
///
/// The plugin stays loaded as long as a vCPU waits for the answer, also when none of its
/// handlers is left. Like everything of a plugin's, a `Deferred` must be gone when its state has
/// been dropped: a thread that has one is joined there.
///
/// # Examples
///
/// A thread of the plugin's own answers, and ends with the state:
///
/// ```
/// use hcall_plugin::{Call, Deferred, Errno, Host, HypercallNumber, HypercallResult};
/// use std::sync::mpsc::{channel, Sender};
/// use std::thread::{self, JoinHandle};
///
/// struct Disk {
///     requests: Option<Sender<(u64, Deferred)>>,
///     thread: Option<JoinHandle<()>>,
/// }
///
/// impl Disk {
///     fn new(_host: Host) -> Result<Self, Errno> {
///         let (requests, received) = channel::<(u64, Deferred)>();
///         let thread = thread::spawn(move || {
///             for (block, later) in received {
///                 later.answer(Ok(block * 2));
///             }
///         });
///         Ok(Self { requests: Some(requests), thread: Some(thread) })
///     }
///
///     fn fetch(&self, call: &mut Call<'_>) -> HypercallResult {
///         let later = call.defer()?;
///         let requests = self.requests.as_ref().ok_or(Errno::EIO)?;
///         requests.send((call.arg::<0>(), later)).map_err(|_| Errno::EIO)?;
///         Ok(0) // The guest gets the other answer.
///     }
/// }
///
/// impl Drop for Disk {
///     fn drop(&mut self) {
///         drop(self.requests.take());
///         if let Some(thread) = self.thread.take() {
///             let _ = thread.join();
///         }
///     }
/// }
///
/// hcall_plugin::plugin! {
///     name: "disk",
///     state: Disk = Disk::new,
///     handlers: { HypercallNumber::user(0x01) => Disk::fetch },
/// }
/// # fn main() {}
/// ```
#[must_use = "dropped, it answers −EIO"]
pub struct Deferred {
    functions: *const HostFunctions,
    raw: *mut RawDeferred,
}

// SAFETY: any thread may answer, and ask whether somebody waits, by the contract; the table
// stands until the plugin is unloaded.
unsafe impl Send for Deferred {}
// SAFETY: see above; only whoever owns it answers.
unsafe impl Sync for Deferred {}

impl Deferred {
    /// # Safety
    ///
    /// `functions` is the host's own table, whose `defer` has given `raw`, which nobody else
    /// has.
    pub(crate) unsafe fn new(functions: *const HostFunctions, raw: *mut RawDeferred) -> Self {
        Self { functions, raw }
    }

    /// Answers the call. An errno counts as a failed call, as a handler's does.
    pub fn answer(self, result: HypercallResult) {
        self.settle(result);
        mem::forget(self);
    }

    /// Whether somebody still waits: not if the VM has ended, or if the handler has failed
    /// after it deferred. The answer then goes nowhere.
    pub fn is_awaited(&self) -> bool {
        newer!(self.functions, is_awaited).is_ok_and(|function| {
            // SAFETY: the host's own table, and what it has given and nobody has answered.
            unsafe { function(self.functions, self.raw) == 1 }
        })
    }

    fn settle(&self, result: HypercallResult) {
        if let Ok(function) = newer!(self.functions, answer) {
            // SAFETY: the host's own table, and what it has given; both callers are the last
            // ones that have it.
            unsafe { function(self.functions, self.raw, encode_result(result)) };
        }
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        self.settle(Err(Errno::EIO));
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Deferred")
            .field("is_awaited", &self.is_awaited())
            .finish()
    }
}
