// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pausing, resuming and ending a VM from another thread.

use super::gate::{Gate, PauseError, VmState};
#[cfg(feature = "extend")]
use crate::extend::control::MachineState;
use crate::host::HypercallHost;
#[cfg(feature = "extend")]
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// Pauses, resumes and ends a VM from another thread.
///
/// While the VM is paused no vCPU runs and no ring is served; the timers of KVM go on, and a
/// guest that has a clock of KVM's is told that it was stopped. The signal that takes a vCPU
/// out of the guest also interrupts system calls of handlers (EINTR).
#[derive(Clone, Debug)]
pub struct Controller {
    gate: Arc<Gate>,
    host: Arc<HypercallHost>,
}

impl Controller {
    pub(super) fn new(gate: Arc<Gate>, host: Arc<HypercallHost>) -> Self {
        Self { gate, host }
    }

    /// Pauses the VM: when this returns, no vCPU runs guest code, and no call is under way. A
    /// VM that is paused stays so; one that has not been started starts paused.
    ///
    /// # Errors
    ///
    /// [`PauseError`] if a handler takes longer than `limit`, or there is no VM any more.
    pub fn pause(&self, limit: Duration) -> Result<(), PauseError> {
        self.gate.pause(limit)?;
        // Only now: a vCPU could set up another.
        if self.host.pause_rings(limit) {
            return Ok(());
        }
        self.resume()?;
        Err(PauseError::RingBusy { limit })
    }

    /// Has a paused VM go on.
    ///
    /// # Errors
    ///
    /// [`PauseError::Ended`] if there is no VM any more.
    pub fn resume(&self) -> Result<(), PauseError> {
        self.host.resume_rings();
        self.gate.resume()
    }

    /// Asks the VM to end, paused or not; [`Vm::run`](super::Vm::run) then returns
    /// [`End::Stopped`](super::End::Stopped).
    pub fn stop(&self) {
        self.gate.stop();
    }

    /// What the VM does.
    pub fn state(&self) -> VmState {
        self.gate.state()
    }
}

#[cfg(feature = "extend")]
impl crate::extend::control::Machine for Controller {
    fn pause(&self, limit: Duration) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.pause(limit)?)
    }

    fn resume(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.resume()?)
    }

    fn stop(&self) {
        self.stop();
    }

    fn state(&self) -> MachineState {
        match self.state() {
            VmState::Running => MachineState::Running,
            VmState::Paused => MachineState::Paused,
            VmState::Ended => MachineState::Ended,
        }
    }
}
