// SPDX-License-Identifier: MIT OR Apache-2.0
//! The few bytes of a BIOS that there are: at the address at which it is entered to reset
//! the machine, a program that does so by the keyboard controller.
//!
//! Linux jumps there, in real mode, when it restarts a machine whose ACPI tables say
//! hardware-reduced and that has no EFI, unless `reboot=` says otherwise. Where it found
//! zeroes it would execute these for ever.

use super::super::devices::{PULSE_RESET, RESET_PORT};
use super::LoadError;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// F000:FFF0.
const RESET_VECTOR: GuestAddress = GuestAddress(0xf_fff0);

/// `mov al, PULSE_RESET; out RESET_PORT, al; hlt; jmp` to the `hlt`.
const RESET: [u8; 7] = [0xb0, PULSE_RESET, 0xe6, RESET_PORT as u8, 0xf4, 0xeb, 0xfd];

/// Writes the program.
pub(super) fn write(memory: &GuestMemoryMmap) -> Result<(), LoadError> {
    memory
        .write_slice(&RESET, RESET_VECTOR)
        .map_err(|_| LoadError::BootStructures)
}
