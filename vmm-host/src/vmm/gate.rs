// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is asked of the vCPUs from outside: to go on, to pause, to end. Each looks at one byte
//! before it runs guest code, and everything else is out of its way.

use super::vcpu::End;
use crate::kick::{self, Target};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Why a VM was not paused; it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PauseError {
    /// A handler did not return in time.
    #[error("vCPU {vcpu} is still in a handler after {limit:?}; the VM goes on")]
    Busy {
        /// Whose call it answers.
        vcpu: u32,
        /// How long was waited.
        limit: Duration,
    },
    /// The same of a call through a ring.
    #[error("a ring is still in a handler after {limit:?}; the VM goes on")]
    RingBusy {
        /// How long was waited.
        limit: Duration,
    },
    /// There is nothing to pause or to resume any more.
    #[error("the VM has ended, or is about to")]
    Ended,
}

/// What a VM does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VmState {
    /// Its vCPUs run, or will when it is started.
    Running,
    /// None of them does until it is resumed.
    Paused,
    /// It has ended, or is about to.
    Ended,
}

/// What the vCPUs are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Wanted {
    Run,
    Pause,
    Stop,
}

/// Between the vCPUs and whoever asks something of them.
#[derive(Debug)]
pub(super) struct Gate {
    /// `State::wanted`, to be looked at without the lock.
    wanted: AtomicU8,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    wanted: Wanted,
    members: Vec<Member>,
    /// The end that somebody else than a vCPU met.
    end: Option<End>,
}

/// A vCPU whose thread runs.
#[derive(Debug)]
struct Member {
    vcpu: u32,
    thread: Target,
    is_parked: bool,
}

impl State {
    fn member(&mut self, vcpu: u32) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.vcpu == vcpu)
    }
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            wanted: AtomicU8::new(Wanted::Run as u8),
            state: Mutex::new(State {
                wanted: Wanted::Run,
                members: Vec::new(),
                end: None,
            }),
            changed: Condvar::new(),
        }
    }

    /// Makes the calling thread known as that of `vcpu` until what is returned is dropped.
    pub(super) fn enter(&self, vcpu: u32) -> Membership<'_> {
        self.lock().members.push(Member {
            vcpu,
            thread: Target::current(),
            is_parked: false,
        });
        Membership { gate: self, vcpu }
    }

    /// Before `vcpu` runs guest code: waits while the VM is paused, after `parking`; `Some` if
    /// it ends.
    #[inline]
    pub(super) fn attend(&self, vcpu: u32, parking: impl FnOnce()) -> Option<End> {
        if self.wanted.load(Ordering::Relaxed) == Wanted::Run as u8 {
            return None;
        }
        self.attend_slowly(vcpu, parking)
    }

    #[cold]
    fn attend_slowly(&self, vcpu: u32, parking: impl FnOnce()) -> Option<End> {
        let mut parking = Some(parking);
        let mut state = self.lock();
        loop {
            let is_parked = state.wanted == Wanted::Pause;
            if is_parked {
                if let Some(parking) = parking.take() {
                    parking();
                }
            }
            if let Some(member) = state.member(vcpu) {
                member.is_parked = is_parked;
            }
            match state.wanted {
                Wanted::Run => return None,
                Wanted::Stop => return Some(End::Stopped),
                Wanted::Pause => {
                    self.changed.notify_all();
                    let woken = self.changed.wait(state);
                    state = woken.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Returns when no vCPU runs guest code, or will before [`resume`](Self::resume).
    pub(super) fn pause(&self, limit: Duration) -> Result<(), PauseError> {
        self.ask(Wanted::Pause)?;
        let start = Instant::now();
        let mut interval = kick::FIRST_INTERVAL;
        let mut state = self.lock();
        loop {
            if state.wanted != Wanted::Pause {
                // Somebody else has resumed or ended it.
                return Err(PauseError::Ended);
            }
            let Some(busy) = state.members.iter().find(|member| !member.is_parked) else {
                return Ok(());
            };
            if start.elapsed() >= limit {
                let vcpu = busy.vcpu;
                self.set(&mut state, Wanted::Run);
                return Err(PauseError::Busy { vcpu, limit });
            }
            for member in state.members.iter().filter(|member| !member.is_parked) {
                member.thread.kick();
            }
            let woken = self.changed.wait_timeout(state, interval);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
            interval = kick::next_interval(interval);
        }
    }

    /// Has the vCPUs go on.
    pub(super) fn resume(&self) -> Result<(), PauseError> {
        self.ask(Wanted::Run)
    }

    /// Has the vCPUs end.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        self.set(&mut state, Wanted::Stop);
    }

    /// The same for a reason, unless the VM ends already.
    pub(super) fn stop_with(&self, end: End) {
        let mut state = self.lock();
        if state.wanted != Wanted::Stop {
            state.end = Some(end);
            self.set(&mut state, Wanted::Stop);
        }
    }

    pub(super) fn stops(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) == Wanted::Stop as u8
    }

    /// How the VM ends when it was asked to.
    pub(super) fn take_end(&self) -> End {
        self.lock().end.take().unwrap_or(End::Stopped)
    }

    pub(super) fn state(&self) -> VmState {
        match self.lock().wanted {
            Wanted::Run => VmState::Running,
            Wanted::Pause => VmState::Paused,
            Wanted::Stop => VmState::Ended,
        }
    }

    /// Asks for `wanted`, unless the VM ends.
    fn ask(&self, wanted: Wanted) -> Result<(), PauseError> {
        let mut state = self.lock();
        if state.wanted == Wanted::Stop {
            return Err(PauseError::Ended);
        }
        self.set(&mut state, wanted);
        Ok(())
    }

    fn set(&self, state: &mut State, wanted: Wanted) {
        state.wanted = wanted;
        self.wanted.store(wanted as u8, Ordering::Relaxed);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A vCPU's thread is known to the gate as long as this lives.
pub(super) struct Membership<'gate> {
    gate: &'gate Gate,
    vcpu: u32,
}

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.members.retain(|member| member.vcpu != self.vcpu);
        // Whoever waits for all to park waits for one less.
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;
    use std::sync::Arc;
    use std::thread;

    const LIMIT: Duration = Duration::from_secs(20);

    /// A "vCPU" that counts its turns until it is to end.
    fn start(gate: &Arc<Gate>, vcpu: u32, turns: &Arc<AtomicU64>) -> thread::JoinHandle<End> {
        let (gate, turns) = (Arc::clone(gate), Arc::clone(turns));
        thread::spawn(move || {
            let _membership = gate.enter(vcpu);
            loop {
                if let Some(end) = gate.attend(vcpu, || {}) {
                    return end;
                }
                turns.fetch_add(1, Ordering::Relaxed);
                thread::yield_now();
            }
        })
    }

    fn wait_for_turns(turns: &AtomicU64) {
        let before = turns.load(Ordering::Relaxed);
        let start = Instant::now();
        while turns.load(Ordering::Relaxed) < before + 10 {
            assert!(start.elapsed() < LIMIT, "nobody runs");
            thread::yield_now();
        }
    }

    #[test]
    fn paused_is_paused_until_it_is_resumed() {
        kick::install().unwrap();
        let gate = Arc::new(Gate::new());
        let turns = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = (0..3).map(|vcpu| start(&gate, vcpu, &turns)).collect();
        for _ in 0..50 {
            wait_for_turns(&turns);
            gate.pause(LIMIT).unwrap();
            assert_eq!(gate.state(), VmState::Paused);
            let paused = turns.load(Ordering::Relaxed);
            thread::sleep(Duration::from_millis(2));
            assert_eq!(turns.load(Ordering::Relaxed), paused);
            gate.pause(LIMIT).expect("it is paused already");
            gate.resume().unwrap();
        }
        gate.pause(LIMIT).unwrap();
        gate.stop();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), End::Stopped);
        }
        assert_eq!(gate.pause(LIMIT), Err(PauseError::Ended));
        assert_eq!(gate.resume(), Err(PauseError::Ended));
        assert_eq!(gate.state(), VmState::Ended);
    }

    #[test]
    fn whoever_does_not_come_is_named_and_goes_on() {
        kick::install().unwrap();
        let gate = Arc::new(Gate::new());
        let turns = Arc::new(AtomicU64::new(0));
        let busy = gate.enter(7);
        let thread = start(&gate, 8, &turns);
        wait_for_turns(&turns);
        let limit = Duration::from_millis(30);
        let refused = gate.pause(limit);
        assert_eq!(refused, Err(PauseError::Busy { vcpu: 7, limit }));
        wait_for_turns(&turns);
        drop(busy);
        gate.pause(LIMIT).unwrap();
        gate.stop_with(End::Halted);
        gate.stop_with(End::Reset);
        assert_eq!(gate.take_end(), End::Halted);
        thread.join().unwrap();
    }

    #[test]
    fn a_vm_that_is_paused_before_it_starts_starts_paused() {
        let gate = Arc::new(Gate::new());
        gate.pause(LIMIT).unwrap();
        let turns = Arc::new(AtomicU64::new(0));
        let thread = start(&gate, 0, &turns);
        thread::sleep(Duration::from_millis(20));
        assert_eq!(turns.load(Ordering::Relaxed), 0);
        gate.resume().unwrap();
        wait_for_turns(&turns);
        gate.stop();
        thread.join().unwrap();
    }
}
