// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guest finds at its I/O ports: a UART, a CMOS that says nothing, the reset line
//! of the keyboard controller, the registers by which ACPI switches a machine off and, if
//! asked for, a port that ends the VM. Interrupt controllers and timer are KVM's.

mod cmos;
mod debug_exit;
mod power;
mod serial;

pub(super) use power::{OFF_SLEEP_TYPE, SLEEP_CONTROL_PORT, SLEEP_STATUS_PORT};
pub(super) use serial::{Serial, SERIAL_IRQ};

use super::config::DebugExit;
use cmos::Cmos;

/// What an unclaimed port reads as: a bus that nobody drives.
const FLOATING: u8 = 0xff;

/// The UART's first port, and how many it has.
pub(super) const SERIAL_FIRST: u16 = 0x3f8;
pub(super) const SERIAL_PORTS: u8 = 8;
const SERIAL_LAST: u16 = SERIAL_FIRST + SERIAL_PORTS as u16 - 1;
const CMOS_FIRST: u16 = 0x70;
const CMOS_LAST: u16 = 0x71;
/// The keyboard controller's port for commands and status.
pub(super) const RESET_PORT: u16 = 0x64;
/// Its command that pulses the processor's reset line.
pub(super) const PULSE_RESET: u8 = 0xfe;
/// Status of a keyboard controller that is ready for a command.
const CONTROLLER_READY: u8 = 0;

/// What a write to a port asks of the VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PortWrite {
    Done,
    Reset,
    PowerOff,
    /// The process ends with this status.
    Exit(u8),
}

/// The devices of a VM, shared by its vCPUs.
#[derive(Debug)]
pub(super) struct Ports {
    serial: Serial,
    cmos: Cmos,
    debug_exit: DebugExit,
}

impl Ports {
    pub(super) fn new(serial: Serial, debug_exit: DebugExit) -> Self {
        Self {
            serial,
            cmos: Cmos::default(),
            debug_exit,
        }
    }

    pub(super) fn write(&self, port: u16, data: &[u8]) -> PortWrite {
        if self.debug_exit == DebugExit::Present && debug_exit::PORTS.contains(&port) {
            return PortWrite::Exit(debug_exit::status(data));
        }
        match (port, data) {
            (SERIAL_FIRST..=SERIAL_LAST, [byte]) => {
                self.serial.write((port - SERIAL_FIRST) as u8, *byte);
            }
            (CMOS_FIRST..=CMOS_LAST, [byte]) => self.cmos.write(port - CMOS_FIRST, *byte),
            (RESET_PORT, [PULSE_RESET]) => return PortWrite::Reset,
            (SLEEP_CONTROL_PORT, [byte]) if power::is_off(*byte) => return PortWrite::PowerOff,
            _ => {}
        }
        PortWrite::Done
    }

    pub(super) fn read(&self, port: u16, data: &mut [u8]) {
        data.fill(FLOATING);
        if let [byte] = data {
            *byte = match port {
                SERIAL_FIRST..=SERIAL_LAST => self.serial.read((port - SERIAL_FIRST) as u8),
                CMOS_FIRST..=CMOS_LAST => self.cmos.read(port - CMOS_FIRST),
                RESET_PORT => CONTROLLER_READY,
                SLEEP_CONTROL_PORT | SLEEP_STATUS_PORT => power::AWAKE,
                _ => FLOATING,
            };
        }
    }
}
