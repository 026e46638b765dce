// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a machine that Bochs emulates: the word "Shutdown", written to a port byte by
//! byte. It has no power-off by ACPI, and stock kernels have no `/dev/port`.
#![allow(unsafe_code)] // a port can be written in no other way; denied in the rest of the crate

use std::arch::asm;
use std::io;

const PORT: u16 = 0x8900;
const WORD: &[u8] = b"Shutdown";

/// Ends the emulator; comes back only where there is none, or without the right to.
pub(crate) fn shut_down() -> io::Result<()> {
    // SAFETY: it gives this thread access to one port and touches no memory.
    if unsafe { libc::ioperm(PORT.into(), 1, 1) } != 0 {
        return Err(io::Error::last_os_error());
    }
    for byte in WORD {
        // SAFETY: `ioperm` has allowed this port. It belongs to the emulator, which reads the
        // byte and changes nothing of this program's.
        unsafe {
            asm!("out dx, al", in("dx") PORT, in("al") *byte, options(nostack, preserves_flags));
        }
    }
    Err(io::Error::other("this machine is not emulated by Bochs"))
}
