// SPDX-License-Identifier: MIT OR Apache-2.0
//! `shout SOCKET`: a hypercall's handler as a process of its own. The call gives the GPA and
//! the length of a text, which becomes upper-case in place; the answer is how many letters
//! have changed.
//!
//! `hcall-vmm run GUEST --handler 0x48438001=unix:SOCKET` asks it. `handler.py`, beside this
//! directory, does the same without this library.

use hcall_vmm::extend::external::protocol::{Direction, Length, Range, Ranges, Request};
use hcall_vmm::extend::external::{serve, Said};
use std::error::Error;
use std::os::unix::net::UnixListener;
use std::thread;

/// The longest text.
const MOST: u32 = 4096;

/// The part of the guest's memory that is wanted of each call, and comes back changed.
const TEXT: Range = Range {
    address: 0,
    length: Length::Argument {
        index: 1,
        most: MOST,
    },
    direction: Direction::InOut,
};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: shout SOCKET")?;
    let listener = UnixListener::bind(path)?;
    let ranges = Ranges::new(&[TEXT])?;
    for connection in listener.incoming() {
        let connection = connection?;
        thread::spawn(move || {
            if let Err(error) = serve(connection, ranges, shout) {
                eprintln!("error: {error}");
            }
        });
    }
    Ok(())
}

fn shout(call: &Request<'_>) -> Said {
    let text = call.inputs[0];
    let loud = text.to_ascii_uppercase();
    let changed = text.iter().zip(&loud).filter(|(a, b)| a != b).count();
    Said::from(Ok(changed as u64)).with_output(0, loud)
}
