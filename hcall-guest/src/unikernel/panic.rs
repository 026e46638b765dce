// SPDX-License-Identifier: MIT OR Apache-2.0
//! A panic ends the VM through `PANIC`, with its message and place.

use crate::{core_calls, Gpa};
use core::fmt::{self, Write};
use core::panic::PanicInfo;

/// Longest message that reaches the host, in bytes; the rest is cut.
const MESSAGE_SIZE: usize = 1024;

struct Message {
    text: [u8; MESSAGE_SIZE],
    used: usize,
}

impl fmt::Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let part = text.len().min(MESSAGE_SIZE - self.used);
        self.text[self.used..self.used + part].copy_from_slice(&text.as_bytes()[..part]);
        self.used += part;
        if part < text.len() {
            return Err(fmt::Error);
        }
        Ok(())
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut message = Message {
        text: [0; MESSAGE_SIZE],
        used: 0,
    };
    // A message too long is cut, which is all that the error says.
    let _ = write!(message, "{info}");
    let gpa = Gpa::new(message.text.as_ptr().expose_provenance() as u64);
    core_calls::panic(gpa, message.used as u64);
    super::halt()
}
