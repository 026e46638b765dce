// SPDX-License-Identifier: MIT OR Apache-2.0
//! The threads of a running VM's vCPUs: the first end is the VM's, and stops the others.

use super::error::{kvm, system, VmError};
use super::gate::Gate;
use super::vcpu::{End, Vcpu};
use crate::confinement::{Confinement, ThreadRole};
use crate::kick;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{mpsc, Arc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often a stop that was asked for is looked at.
const STOP_INTERVAL: Duration = Duration::from_millis(20);

type Outcome = Result<End, VmError>;

/// One thread for each vCPU. All of them have ended when this is dropped.
#[derive(Debug)]
pub(super) struct VcpuThreads {
    threads: Vec<JoinHandle<()>>,
    outcomes: mpsc::Receiver<Outcome>,
    gate: Arc<Gate>,
}

impl VcpuThreads {
    /// Starts a thread for each of `vcpus`, which look at `gate`.
    pub(super) fn start(
        vcpus: Vec<Vcpu>,
        gate: Arc<Gate>,
        confinement: &Confinement,
    ) -> Result<Self, VmError> {
        kick::install().map_err(kvm("take a signal"))?;
        let (report, outcomes) = mpsc::channel();
        let mut started = Self {
            threads: Vec::new(),
            outcomes,
            gate,
        };
        for vcpu in vcpus {
            started
                .threads
                .push(spawn(vcpu, report.clone(), confinement.clone())?);
        }
        Ok(started)
    }

    /// Waits for the first end that a vCPU meets, or that somebody asks for.
    pub(super) fn wait(self) -> Outcome {
        let outcome = loop {
            match self.outcomes.recv_timeout(STOP_INTERVAL) {
                Ok(outcome) => break outcome,
                Err(mpsc::RecvTimeoutError::Timeout) if !self.gate.stops() => {}
                // An end that came together with the stop says more than the stop.
                Err(_) => break self.outcomes.try_recv().unwrap_or(Ok(End::Stopped)),
            }
        };
        match outcome {
            // Who stopped it may have left a reason.
            Ok(End::Stopped) => Ok(self.gate.take_end()),
            outcome => outcome,
        }
    }
}

fn spawn(
    mut vcpu: Vcpu,
    report: mpsc::Sender<Outcome>,
    confinement: Confinement,
) -> Result<JoinHandle<()>, VmError> {
    let name = format!("vcpu-{}", vcpu.id());
    let run = move || {
        // What a panic leaves behind is dropped with the VM, which it ends.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let confined = confinement.enter(ThreadRole::Vcpu);
            confined.map_err(system("confine a vCPU thread"))?;
            vcpu.run()
        }));
        // Nobody listens any more once another vCPU has ended the VM.
        let _ = report.send(outcome.unwrap_or(Err(VmError::ThreadPanicked)));
    };
    thread::Builder::new()
        .name(name)
        .spawn(run)
        .map_err(system("start a vCPU thread"))
}

impl Drop for VcpuThreads {
    fn drop(&mut self) {
        self.gate.stop();
        for thread in self.threads.drain(..) {
            kick::until_finished(&thread);
            // A panic has been reported as the outcome.
            let _ = thread.join();
        }
    }
}
