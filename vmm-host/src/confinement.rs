// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a VM's threads do first: give up what they do not need, where there is a sandbox.
//! Without the feature `sandbox` there is none, and nothing is done.

#[cfg(feature = "sandbox")]
use crate::sandbox::Sandbox;
use std::io;

/// What a thread of a VMM is there for, and so what it may ask of the kernel.
///
/// All of them may use what is open already: memory that is no code, descriptors to read and
/// to write, locks and clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(not(feature = "sandbox"), allow(dead_code, unreachable_pub))]
#[non_exhaustive]
pub enum ThreadRole {
    /// Runs a vCPU, with it the handlers of its calls; starts the threads of rings.
    Vcpu,
    /// Serves a ring, with it the handlers of its calls.
    Ring,
    /// Types what is read into the guest's console.
    ConsoleInput,
    /// Waits for signals, to end the VM.
    Signals,
    /// Answers who controls the VM: takes descriptors, loads plugins from them.
    Control,
    /// Speaks with a handler that is another process.
    ExternalHandler,
    /// Has built the VM, and waits for its end.
    Owner,
}

/// The sandbox of a VM, if it has one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Confinement {
    #[cfg(feature = "sandbox")]
    sandbox: Option<Sandbox>,
}

impl Confinement {
    /// Confines the calling thread for good.
    ///
    /// # Errors
    ///
    /// That of the kernel; the thread must then not go on.
    pub(crate) fn enter(&self, role: ThreadRole) -> io::Result<()> {
        #[cfg(feature = "sandbox")]
        if let Some(sandbox) = &self.sandbox {
            return sandbox.confine_thread(role);
        }
        let _ = role;
        Ok(())
    }
}

#[cfg(feature = "sandbox")]
impl From<Option<Sandbox>> for Confinement {
    fn from(sandbox: Option<Sandbox>) -> Self {
        Self { sandbox }
    }
}
