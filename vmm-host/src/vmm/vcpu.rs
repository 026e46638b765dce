// SPDX-License-Identifier: MIT OR Apache-2.0
//! Running a vCPU: hypercalls to the host, port accesses to the devices, until the end.

use super::devices::{PortWrite, Ports};
use super::error::{kvm, VmError};
use super::exits;
use super::gate::Gate;
use super::loader::Entry;
use super::post_mortem::PostMortem;
use crate::deferred::{PendingAnswer, ReadyAnswer};
use crate::disposition::{Disposition, StopReason};
use crate::host::HypercallHost;
use crate::protected_mode;
use hcall_abi::result::KVM_ENOSYS_RESULT;
use hcall_abi::HypercallNumber;
use kvm_bindings::{kvm_regs, CpuId};
use kvm_ioctls::{VcpuExit, VcpuFd};
use std::fmt;
use std::sync::Arc;
use std::thread;

/// How a VM ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The guest called `EXIT` with this status, or wrote it to the debug-exit port.
    Exit(u8),
    /// The guest called `PANIC` with this message.
    Panic(String),
    /// A handler panicked, and [`PanicPolicy::EndVm`](crate::PanicPolicy::EndVm) was wanted.
    HandlerPanicked {
        /// The number that was called.
        number: HypercallNumber,
        /// What the panic said.
        message: String,
    },
    /// The guest reset the machine by the keyboard controller.
    Reset,
    /// The guest switched the machine off, by ACPI.
    PowerOff,
    /// The guest halted with nothing left that could wake it.
    Halted,
    /// The processor shut down: a triple fault. Where, in words and with all registers, as far
    /// as KVM knows: on processors with SVM it has reset the vCPU by then.
    TripleFault(String),
    /// KVM ended the vCPU's run in a way that this VMM has no answer to. How and where, in
    /// words and with all registers.
    UnexpectedExit(String),
    /// Somebody outside the guest asked for the end.
    Stopped,
}

impl fmt::Display for End {
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
            Self::Reset => formatter.write_str("the guest reset the machine"),
            Self::PowerOff => formatter.write_str("the guest switched the machine off"),
            Self::Halted => formatter.write_str("the guest halted"),
            Self::TripleFault(registers) => {
                write!(formatter, "the guest shut down (triple fault): {registers}")
            }
            Self::UnexpectedExit(what) => write!(formatter, "unexpected exit of KVM: {what}"),
            Self::Stopped => formatter.write_str("stopped"),
        }
    }
}

impl From<StopReason> for End {
    fn from(reason: StopReason) -> Self {
        match reason {
            StopReason::Exit(code) => Self::Exit(code),
            StopReason::Panic(message) => Self::Panic(message),
            StopReason::HandlerPanicked { number, message } => {
                Self::HandlerPanicked { number, message }
            }
        }
    }
}

/// A vCPU and what it shares with the others.
pub(super) struct Vcpu {
    id: u32,
    fd: VcpuFd,
    host: Arc<HypercallHost>,
    ports: Arc<Ports>,
    gate: Arc<Gate>,
}

impl Vcpu {
    pub(super) fn new(
        id: u32,
        mut fd: VcpuFd,
        cpuid: &CpuId,
        host: Arc<HypercallHost>,
        ports: Arc<Ports>,
        gate: Arc<Gate>,
    ) -> Result<Self, VmError> {
        fd.set_cpuid2(cpuid).map_err(kvm("set the vCPU's CPUID"))?;
        host.prepare(&mut fd);
        Ok(Self {
            id,
            fd,
            host,
            ports,
            gate,
        })
    }

    /// Sets the processor's state to the beginning of a guest.
    pub(super) fn start_at(&self, entry: Entry) -> Result<(), VmError> {
        let mut sregs = self
            .fd
            .get_sregs()
            .map_err(kvm("read the vCPU's registers"))?;
        protected_mode::enter(&mut sregs);
        self.fd
            .set_sregs(&sregs)
            .map_err(kvm("set the vCPU's segments"))?;
        let registers = kvm_regs {
            rip: entry.rip.get(),
            rax: entry.rax,
            rbx: entry.rbx,
            rsi: entry.rsi,
            rflags: 2,
            ..Default::default()
        };
        self.fd
            .set_regs(&registers)
            .map_err(kvm("set the vCPU's registers"))
    }

    /// Its number among the VM's vCPUs, which is its APIC's as well.
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Runs until the VM ends.
    pub(super) fn run(&mut self) -> Result<End, VmError> {
        let host = Arc::clone(&self.host);
        let mut calls = host.vcpu_calls(self.id);
        let gate = Arc::clone(&self.gate);
        let _membership = gate.enter(self.id);
        loop {
            // Looked at before every KVM_RUN: the signal that says so is lost if it comes
            // while an exit is handled.
            if let Some(end) = self.attend() {
                return Ok(end);
            }
            let exit = match self.fd.run() {
                Ok(exit) => exit,
                Err(error) if is_retryable(error) => continue,
                Err(error) => return Err(kvm("run the vCPU")(error)),
            };
            let Some(transport) = calls.recognise(&exit) else {
                if let Some(end) = handle(&self.ports, exit) {
                    return Ok(self.with_post_mortem(end));
                }
                continue;
            };
            match calls.dispatch(&mut self.fd, transport) {
                Disposition::Resume => {}
                Disposition::Stop(reason) => return Ok(reason.into()),
                Disposition::Wait(pending) => match self.wait_for(pending) {
                    Ok(answer) => calls.complete(&mut self.fd, answer),
                    Err(end) => return Ok(end),
                },
            }
        }
    }

    /// Does what is asked of this vCPU from outside; `Some` if that is the end.
    #[inline]
    fn attend(&self) -> Option<End> {
        self.gate.attend(self.id, || {
            // Refused for a guest without KVM's clock, which then needs not be told.
            let _ = self.fd.kvmclock_ctrl();
        })
    }

    /// Waits for an answer that a handler put off, or for the end that is asked for meanwhile.
    /// Whoever asks for something [interrupts](crate::kick) the thread here as in KVM_RUN.
    #[cold]
    fn wait_for(&self, mut pending: PendingAnswer) -> Result<ReadyAnswer, End> {
        let thread = thread::current();
        pending.notify(move || thread.unpark());
        loop {
            pending = match pending.try_ready() {
                Ok(answer) => return Ok(answer),
                Err(pending) => pending,
            };
            if let Some(end) = self.attend() {
                return Err(end);
            }
            thread::park();
        }
    }

    /// Adds where the guest was to an end that nobody asked for.
    fn with_post_mortem(&mut self, end: End) -> End {
        let what = match end {
            End::TripleFault(_) => return End::TripleFault(self.post_mortem()),
            End::UnexpectedExit(what) => {
                exits::describe_internal_error(self.fd.get_kvm_run()).unwrap_or(what)
            }
            end => return end,
        };
        End::UnexpectedExit(format!("{what}; {}", self.post_mortem()))
    }

    fn post_mortem(&self) -> String {
        match PostMortem::of(self.id, &self.fd, self.host.memory()) {
            Ok(post_mortem) => post_mortem.to_string(),
            Err(error) => format!("vCPU {}, whose registers are unknown: {error}", self.id),
        }
    }
}

/// EINTR: a signal, perhaps to look whether to stop; EAGAIN: KVM wants to be called again.
fn is_retryable(error: kvm_ioctls::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, WouldBlock};
    matches!(std::io::Error::from(error).kind(), Interrupted | WouldBlock)
}

/// Handles an exit that is no hypercall; `Some` if it ends the VM.
fn handle(ports: &Ports, exit: VcpuExit<'_>) -> Option<End> {
    match exit {
        VcpuExit::IoOut(port, data) => match ports.write(port, data) {
            PortWrite::Done => None,
            PortWrite::Reset => Some(End::Reset),
            PortWrite::PowerOff => Some(End::PowerOff),
            PortWrite::Exit(status) => Some(End::Exit(status)),
        },
        VcpuExit::IoIn(port, data) => {
            ports.read(port, data);
            None
        }
        // No device is mapped in memory: reads float, writes are lost, as on a PC.
        VcpuExit::MmioRead(_, data) => {
            data.fill(u8::MAX);
            None
        }
        VcpuExit::MmioWrite(..) => None,
        // A real KVM_HC_MAP_GPA_RANGE: its memory is not ours to map, and KVM has set
        // the answer to success.
        VcpuExit::Hypercall(exit) => {
            *exit.ret = KVM_ENOSYS_RESULT as u64;
            None
        }
        VcpuExit::Hlt => Some(End::Halted),
        VcpuExit::Shutdown => Some(End::TripleFault(String::new())),
        other => Some(End::UnexpectedExit(exits::describe(&other))),
    }
}

impl fmt::Debug for Vcpu {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Vcpu")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
