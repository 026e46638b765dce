// SPDX-License-Identifier: MIT OR Apache-2.0
//! The console: text to the host by `CONSOLE_WRITE`, buffered so that a line is one exit.

use crate::{core_calls, Error, Gpa};
use core::fmt;

/// Most text that one exit carries, in bytes.
const BUFFER_SIZE: usize = 512;

/// Writes all of `bytes` to the VM's console.
///
/// # Errors
///
/// Those of `CONSOLE_WRITE`; what came before the error has been written.
pub fn write(mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        let chunk = &bytes[..bytes.len().min(BUFFER_SIZE)];
        let gpa = Gpa::new(chunk.as_ptr().expose_provenance() as u64);
        let taken = core_calls::console_write(gpa, chunk.len() as u64)?;
        bytes = &bytes[(taken as usize).clamp(1, chunk.len())..];
    }
    Ok(())
}

/// A buffered writer to the console; what is left in the buffer is written when it is
/// dropped.
#[derive(Debug)]
pub struct Console {
    buffer: [u8; BUFFER_SIZE],
    used: usize,
}

impl Console {
    /// An empty buffer.
    pub const fn new() -> Self {
        Self {
            buffer: [0; BUFFER_SIZE],
            used: 0,
        }
    }

    /// Writes what the buffer holds.
    ///
    /// # Errors
    ///
    /// Those of [`write()`]; the buffer is empty afterwards in any case.
    pub fn flush(&mut self) -> Result<(), Error> {
        let used = core::mem::take(&mut self.used);
        write(&self.buffer[..used])
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            if self.used == BUFFER_SIZE {
                self.flush().map_err(|_| fmt::Error)?;
            }
            let part = rest.len().min(BUFFER_SIZE - self.used);
            self.buffer[self.used..self.used + part].copy_from_slice(&rest[..part]);
            self.used += part;
            rest = &rest[part..];
        }
        Ok(())
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // A console that fails cannot be told so on the console.
        let _ = self.flush();
    }
}

/// What `print!` and `println!` call.
pub fn print_arguments(arguments: fmt::Arguments<'_>) {
    // As in `Drop`: there is nowhere to report a failing console to.
    let _ = fmt::Write::write_fmt(&mut Console::new(), arguments);
}

/// Prints to the VM's console; silently nothing if the host has none.
#[macro_export]
macro_rules! unikernel_print {
    ($($argument:tt)*) => {
        $crate::unikernel::print_arguments(format_args!($($argument)*))
    };
}

/// Prints a line to the VM's console; silently nothing if the host has none.
#[macro_export]
macro_rules! unikernel_println {
    () => { $crate::unikernel::print_arguments(format_args!("\n")) };
    ($($argument:tt)*) => {
        $crate::unikernel::print_arguments(format_args!("{}\n", format_args!($($argument)*)))
    };
}
