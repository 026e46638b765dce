// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a vCPU's thread does after a call: runs the vCPU again, ends the VM, or waits.

use crate::deferred::PendingAnswer;
use hcall_abi::HypercallNumber;
use std::fmt;

/// What the vCPU's thread does after a call.
#[derive(Debug, PartialEq, Eq)]
#[repr(u8)] // A tag of its own is set and looked at in fewer instructions.
#[must_use]
pub enum Disposition {
    /// Runs the vCPU again; the answer is in place.
    Resume,
    /// Ends the VM.
    Stop(StopReason),
    /// Waits for the answer, as it likes, and then has it
    /// [put in place](VcpuCalls::complete) before it runs the vCPU again.
    Wait(PendingAnswer),
}

/// Why a handler ended the VM.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// The guest called `EXIT`, or another handler asked for it.
    Exit(u8),
    /// The guest called `PANIC` with this message.
    Panic(String),
    /// A handler panicked, and the host has [`PanicPolicy::EndVm`].
    HandlerPanicked {
        /// The number that was called.
        number: HypercallNumber,
        /// What the panic said.
        message: String,
    },
}

impl fmt::Display for StopReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(formatter, "the guest exited with status {code}"),
            Self::Panic(message) => write!(formatter, "the guest panicked: {message}"),
            Self::HandlerPanicked { number, message } => {
                write!(
                    formatter,
                    "the handler of hypercall {number} panicked: {message}"
                )
            }
        }
    }
}
