// SPDX-License-Identifier: MIT OR Apache-2.0
//! The UART at 0x3f8, interrupt 4: `vm-superio`'s, behind a lock for the vCPUs.

use super::super::config::Console;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vm_superio::serial::NoEvents;
use vm_superio::Trigger;
use vmm_sys_util::eventfd::EventFd;

/// The interrupt line of the first UART of a PC.
pub(crate) const SERIAL_IRQ: u32 = 4;

/// Raises the interrupt: KVM listens on the eventfd (irqfd).
#[derive(Debug)]
struct Interrupt(EventFd);

impl Trigger for Interrupt {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

type Uart = vm_superio::Serial<Interrupt, NoEvents, Console>;

/// A UART; clones are the same one.
#[derive(Clone)]
pub(crate) struct Serial(Arc<Mutex<Uart>>);

impl Serial {
    /// A UART that prints to `console` and raises `interrupt`.
    pub(crate) fn new(interrupt: EventFd, console: Console) -> Self {
        let uart = vm_superio::Serial::new(Interrupt(interrupt), console);
        Self(Arc::new(Mutex::new(uart)))
    }

    pub(super) fn write(&self, offset: u8, byte: u8) {
        if let Err(error) = self.lock().write(offset, byte) {
            tracing::warn!(?error, "the serial console lost a byte");
        }
    }

    pub(super) fn read(&self, offset: u8) -> u8 {
        self.lock().read(offset)
    }

    /// Gives the guest as much of `input` as its FIFO holds; returns how much.
    pub(crate) fn receive(&self, input: &[u8]) -> usize {
        let mut uart = self.lock();
        let room = uart.fifo_capacity().min(input.len());
        uart.enqueue_raw_bytes(&input[..room]).unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Uart> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Serial {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "Serial(fifo room {})",
            self.lock().fifo_capacity()
        )
    }
}
