// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers that come later: the handler returns, and any thread answers when it can.
//!
//! A handler that [defers](crate::Hypercall::defer) keeps a [`Deferred`], and the VMM's loop
//! gets a [`PendingAnswer`] in [`Disposition::Wait`](crate::Disposition::Wait). The vCPU stands
//! still in between, as with every call; its thread does not have to:
//!
//! * a VMM with a thread for each vCPU [waits](PendingAnswer::wait) on it, for as long at a
//!   time as it likes, and looks after pauses and stops between two waits;
//! * a VMM that runs many vCPUs on few threads, by events, has itself
//!   [notified](PendingAnswer::notify), by an eventfd of its loop or the waker of a task, and
//!   runs other vCPUs until then.
//!
//! Either way ends with a [`ReadyAnswer`], which goes to
//! [`VcpuCalls::complete`](crate::VcpuCalls::complete), and the vCPU runs again. There is no
//! ready answer without an answer, and none can be given twice: both are used up.
//!
//! # Examples
//!
//! ```
//! # use hcall_vmm::{Disposition, HypercallNumber};
//! # fn example<V: hcall_vmm::hypercall::Vcpu>(
//! #     host: &hcall_vmm::HypercallHost,
//! #     calls: &mut hcall_vmm::VcpuCalls<'_>,
//! #     vcpu: &mut V,
//! #     transport: hcall_vmm::Transport,
//! # ) -> Result<(), hcall_vmm::TableError> {
//! const FETCH: HypercallNumber = HypercallNumber::user(0x20);
//!
//! host.hypercalls().register(FETCH, |call| {
//!     let block = call.arg::<0>();
//!     let later = call.defer()?;
//!     std::thread::spawn(move || later.answer(Ok(block * 2)));
//!     Ok(0) // The guest gets the other answer.
//! })?;
//!
//! match calls.dispatch(vcpu, transport) {
//!     Disposition::Wait(pending) => calls.complete(vcpu, pending.wait()),
//!     Disposition::Resume => {}
//!     Disposition::Stop(reason) => println!("{reason}"),
//! }
//! # Ok(())
//! # }
//! ```

use crate::hypercall::{HypercallResult, Mode};
use hcall_abi::Errno;
use std::any::Any;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

type Waker = Box<dyn FnOnce() + Send>;

/// Who is told the answer when it is put in place.
pub(crate) type Observer = Box<dyn FnOnce(HypercallResult) + Send + Sync>;

/// What must stay as long as somebody waits: whoever is to answer, if that is code that can go.
pub(crate) type Kept = Arc<dyn Any + Send + Sync>;

/// Where the answer is left, and who is told.
#[derive(Default)]
struct Slot {
    state: Mutex<State>,
    answered: Condvar,
}

#[derive(Default)]
struct State {
    answer: Option<HypercallResult>,
    waker: Option<Waker>,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that could panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the answer, unless there is one.
    fn settle(&self, answer: HypercallResult) {
        let mut state = self.lock();
        if state.answer.is_some() {
            return;
        }
        state.answer = Some(answer);
        let waker = state.waker.take();
        drop(state);
        self.answered.notify_all();
        if let Some(waker) = waker {
            waker();
        }
    }
}

/// The right to answer a call, once, from any thread. Dropped unanswered, it answers −EIO.
pub struct Deferred {
    slot: Arc<Slot>,
}

impl Deferred {
    /// Answers the call. An errno counts as a failed call, as a handler's does.
    pub fn answer(self, result: HypercallResult) {
        self.slot.settle(result);
    }

    /// Whether somebody still waits: not if the VM has ended, or if the handler has failed
    /// after it deferred. The answer then goes nowhere.
    pub fn is_awaited(&self) -> bool {
        Arc::strong_count(&self.slot) > 1
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        self.slot.settle(Err(Errno::EIO));
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

/// The vCPU that made a deferred call, as far as its answer depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) vcpu_id: u32,
    /// Its mode, where the exit said it.
    pub(crate) mode: Option<Mode>,
}

/// A call whose answer is to come, for the loop that runs the vCPU.
///
/// Dropped, it leaves the call unanswered: good only where the vCPU does not run again.
#[must_use = "the vCPU waits for it"]
pub struct PendingAnswer {
    slot: Arc<Slot>,
    caller: Caller,
    /// Where calls are observed.
    observer: Option<Observer>,
    /// Dropped by whoever waits, and never by whoever answers: he may be a thread of what goes.
    kept: Option<Kept>,
}

/// An answer that was deferred to be put to where the guest finds it: both ends of it.
pub(crate) fn defer(caller: Caller) -> (Deferred, PendingAnswer) {
    let slot = Arc::new(Slot::default());
    let deferred = Deferred {
        slot: Arc::clone(&slot),
    };
    let pending = PendingAnswer {
        slot,
        caller,
        observer: None,
        kept: None,
    };
    (deferred, pending)
}

impl PendingAnswer {
    /// Has `observer` told the answer, after those who are told already.
    pub(crate) fn observe(&mut self, observer: Observer) {
        self.observer = Some(match self.observer.take() {
            None => observer,
            Some(earlier) => Box::new(move |result| {
                earlier(result);
                observer(result);
            }),
        });
    }

    /// Has `kept` stay until the answer is in place.
    #[cfg(feature = "extend")]
    pub(crate) fn keep(&mut self, kept: Kept) {
        self.kept = Some(kept);
    }

    /// The vCPU that waits.
    pub fn vcpu_id(&self) -> u32 {
        self.caller.vcpu_id
    }

    /// Whether the answer is there.
    pub fn is_ready(&self) -> bool {
        self.slot.lock().answer.is_some()
    }

    /// Has `waker` called once, when the answer is there: by the thread that gives it, or here
    /// if it is there already. It takes the place of one that was given before.
    ///
    /// It must not panic, and should do little: write to an eventfd, unpark a thread. The
    /// answer is not for it to take: the thread may be a plugin's, which goes with it.
    pub fn notify(&self, waker: impl FnOnce() + Send + 'static) {
        let mut state = self.slot.lock();
        if state.answer.is_none() {
            let replaced = state.waker.replace(Box::new(waker));
            drop(state);
            drop(replaced);
            return;
        }
        drop(state);
        waker();
    }

    /// The answer, if it is there.
    ///
    /// # Errors
    ///
    /// What was asked, to be asked again.
    pub fn try_ready(self) -> Result<ReadyAnswer, Self> {
        self.wait_timeout(Duration::ZERO)
    }

    /// Blocks until the answer is there.
    pub fn wait(self) -> ReadyAnswer {
        let mut state = self.slot.lock();
        loop {
            if let Some(result) = state.answer {
                drop(state);
                return self.ready(result);
            }
            let woken = self.slot.answered.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Blocks until the answer is there, but for no longer than `limit`.
    ///
    /// # Errors
    ///
    /// What was waited for, to be waited for again.
    pub fn wait_timeout(self, limit: Duration) -> Result<ReadyAnswer, Self> {
        let start = Instant::now();
        let mut state = self.slot.lock();
        loop {
            if let Some(result) = state.answer {
                drop(state);
                return Ok(self.ready(result));
            }
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                drop(state);
                return Err(self);
            }
            let woken = self.slot.answered.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn ready(self, result: HypercallResult) -> ReadyAnswer {
        ReadyAnswer {
            result,
            caller: self.caller,
            observer: self.observer,
            kept: self.kept,
        }
    }
}

impl fmt::Debug for PendingAnswer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PendingAnswer")
            .field("vcpu_id", &self.vcpu_id())
            .field("is_ready", &self.is_ready())
            .finish()
    }
}

/// Of the same call.
impl PartialEq for PendingAnswer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.slot, &other.slot)
    }
}

impl Eq for PendingAnswer {}

/// An answer that is there, for
/// [`VcpuCalls::complete`](crate::VcpuCalls::complete) to put in place.
#[must_use = "the vCPU waits for it"]
pub struct ReadyAnswer {
    pub(crate) result: HypercallResult,
    pub(crate) caller: Caller,
    pub(crate) observer: Option<Observer>,
    pub(crate) kept: Option<Kept>,
}

impl fmt::Debug for ReadyAnswer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ReadyAnswer")
            .field("result", &self.result)
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}
