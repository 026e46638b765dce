// SPDX-License-Identifier: MIT OR Apache-2.0
//! Doorbells and interrupts: what connects a ring's thread with the guest besides memory.

use hcall_abi::ring::{RingSetup, DOORBELL_MEMORY, DOORBELL_PORT};
use hcall_abi::{Errno, Gpa};
use kvm_ioctls::{IoEventAddress, VmFd};
use std::sync::Arc;
use vmm_sys_util::eventfd::EventFd;

/// How a guest rings for one ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doorbell {
    /// By writing `value`, 4 bytes, to an I/O port.
    Port {
        /// The port.
        port: u16,
        /// What is written.
        value: u32,
    },
    /// By writing `value`, 4 bytes, to an address where no memory is.
    Memory {
        /// The address.
        gpa: Gpa,
        /// What is written.
        value: u32,
    },
}

impl Doorbell {
    /// Tells the guest.
    pub(super) fn describe(self, setup: &mut RingSetup) {
        let (kind, address, value) = match self {
            Self::Port { port, value } => (DOORBELL_PORT, port.into(), value),
            Self::Memory { gpa, value } => (DOORBELL_MEMORY, gpa.get(), value),
        };
        setup.doorbell_kind = kind;
        setup.doorbell_address = address;
        setup.doorbell_value = value;
    }
}

/// Why something cannot be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WiringError {
    /// The guest asks for an interrupt that is not its to have.
    #[error("this interrupt is not free")]
    InterruptTaken,
    /// There are no interrupts for rings.
    #[error("rings have no interrupts here")]
    NoInterrupts,
    /// KVM refused.
    #[error("KVM refused: {0}")]
    Kvm(kvm_ioctls::Error),
}

impl From<WiringError> for Errno {
    fn from(error: WiringError) -> Self {
        match error {
            WiringError::InterruptTaken => Errno::EBUSY,
            WiringError::NoInterrupts => Errno::EOPNOTSUPP,
            WiringError::Kvm(_) => Errno::ENOMEM,
        }
    }
}

/// Connects rings with the guest; [`KvmWiring`] is KVM's.
pub trait RingWiring: Send + Sync {
    /// Has the guest's doorbell for `ring` signal `event`, and says what it is.
    ///
    /// # Errors
    ///
    /// [`WiringError`]
    fn connect_doorbell(&self, ring: u32, event: &EventFd) -> Result<Doorbell, WiringError>;

    /// Undoes [`connect_doorbell`](Self::connect_doorbell).
    fn disconnect_doorbell(&self, ring: u32, event: &EventFd);

    /// Has `event` raise the global system interrupt `gsi`. Asked
    /// once for each interrupt, however many rings share it.
    ///
    /// # Errors
    ///
    /// [`WiringError`]
    fn connect_interrupt(&self, gsi: u32, event: &EventFd) -> Result<(), WiringError>;

    /// Undoes [`connect_interrupt`](Self::connect_interrupt).
    fn disconnect_interrupt(&self, gsi: u32, event: &EventFd);
}

/// Doorbells by `ioeventfd` on one I/O port, told apart by what is written; interrupts by
/// `irqfd`. Neither exits to this process.
#[derive(Debug)]
pub struct KvmWiring {
    vm: Arc<VmFd>,
    port: u16,
    interrupts: Vec<u32>,
}

impl KvmWiring {
    /// A port that no device of a PC claims, and that is not the transport Port's.
    pub const DEFAULT_PORT: u16 = 0xe8;

    /// The wiring of `vm`. `interrupts` are the global system interrupts that rings may
    /// have: inputs of KVM's interrupt controllers that no device of the VMM drives.
    pub fn new(vm: Arc<VmFd>, interrupts: impl Into<Vec<u32>>) -> Self {
        Self {
            vm,
            port: Self::DEFAULT_PORT,
            interrupts: interrupts.into(),
        }
    }

    /// Takes another port for the doorbells: one where no device is.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    fn address(&self) -> IoEventAddress {
        IoEventAddress::Pio(self.port.into())
    }
}

impl RingWiring for KvmWiring {
    fn connect_doorbell(&self, ring: u32, event: &EventFd) -> Result<Doorbell, WiringError> {
        self.vm
            .register_ioevent(event, &self.address(), ring)
            .map_err(WiringError::Kvm)?;
        Ok(Doorbell::Port {
            port: self.port,
            value: ring,
        })
    }

    fn disconnect_doorbell(&self, ring: u32, event: &EventFd) {
        if let Err(error) = self.vm.unregister_ioevent(event, &self.address(), ring) {
            tracing::warn!(%error, ring, "KVM keeps the doorbell of a ring");
        }
    }

    fn connect_interrupt(&self, gsi: u32, event: &EventFd) -> Result<(), WiringError> {
        if self.interrupts.is_empty() {
            return Err(WiringError::NoInterrupts);
        }
        if !self.interrupts.contains(&gsi) {
            return Err(WiringError::InterruptTaken);
        }
        self.vm.register_irqfd(event, gsi).map_err(WiringError::Kvm)
    }

    fn disconnect_interrupt(&self, gsi: u32, event: &EventFd) {
        if let Err(error) = self.vm.unregister_irqfd(event, gsi) {
            tracing::warn!(%error, gsi, "KVM keeps the interrupt of a ring");
        }
    }
}
