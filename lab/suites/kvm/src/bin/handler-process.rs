// SPDX-License-Identifier: MIT OR Apache-2.0
//! `handler-process SOCKET VALUE`: a handler that is a process and answers VALUE; at the end of
//! its standard input it says how often it has. `handler-process SOCKET hold`: one that
//! never answers, and says each call.

use hcall_vmm::extend::external::protocol::Ranges;
use hcall_vmm::extend::external::{serve, Said};
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

static ANSWERED: AtomicU64 = AtomicU64::new(0);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(socket), Some(what)) = (arguments.next(), arguments.next()) else {
        return Err("usage: handler-process SOCKET VALUE|hold".into());
    };
    // None: never answer.
    let value: Option<u64> = match what.as_str() {
        "hold" => None,
        value => Some(value.parse()?),
    };
    let listener = UnixListener::bind(socket)?;
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            thread::spawn(move || {
                // The VMM sees how a connection ends, and the test sees what it makes of it.
                let _ = serve(connection, Ranges::NONE, |_| answer(value));
            });
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    println!("answered {}", ANSWERED.load(Ordering::Relaxed));
    Ok(())
}

fn answer(value: Option<u64>) -> Said {
    let Some(value) = value else {
        println!("holding");
        loop {
            thread::park();
        }
    };
    ANSWERED.fetch_add(1, Ordering::Relaxed);
    Said::from(Ok(value))
}
