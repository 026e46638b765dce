// SPDX-License-Identifier: MIT OR Apache-2.0
//! A plugin in Rust. `cargo build --package hcall-plugin-example`, then
//! `hcall-vmm run IMAGE --plugin target/debug/libhcall_plugin_example.so`.

mod checksum;

use checksum::Worker;
use hcall_plugin::{Call, Errno, Gpa, Host, HypercallNumber, HypercallResult, Level};
use std::sync::atomic::{AtomicU64, Ordering};

/// `DIVIDE(a, b)` → a / b. Nobody checks b: the handler panics, and the VM goes on.
const DIVIDE: HypercallNumber = HypercallNumber::user(0x10);
/// `CAPITALS(gpa, length)` → length, at most 4096; makes the text's letters capitals.
const CAPITALS: HypercallNumber = HypercallNumber::user(0x11);
/// `CHECKSUM(gpa, length)` → the sum of at most 4096 bytes, which a thread of its own finds.
const CHECKSUM: HypercallNumber = HypercallNumber::user(0x12);

/// What all handlers share, on whichever threads they run.
struct Example {
    host: Host,
    calls: AtomicU64,
    worker: Worker,
}

impl Example {
    fn new(host: Host) -> Result<Self, Errno> {
        Ok(Self {
            host,
            calls: AtomicU64::new(0),
            worker: Worker::start()?,
        })
    }

    fn divide(&self, call: &mut Call<'_>) -> HypercallResult {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let [a, b, ..] = call.args();
        Ok(a / b)
    }

    fn capitals(&self, call: &mut Call<'_>) -> HypercallResult {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let [gpa, length, ..] = call.args();
        let mut text = [0; 4096];
        let text = text.get_mut(..length as usize).ok_or(Errno::EMSGSIZE)?;
        call.read(Gpa::new(gpa), text)?;
        text.make_ascii_uppercase();
        call.write(Gpa::new(gpa), text)?;
        Ok(length)
    }

    fn checksum(&self, call: &mut Call<'_>) -> HypercallResult {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let [gpa, length, ..] = call.args();
        if length > 4096 {
            return Err(Errno::EMSGSIZE);
        }
        let mut bytes = vec![0; length as usize];
        call.read(Gpa::new(gpa), &mut bytes)?;
        let later = call.defer()?;
        self.worker.ask(bytes, later)?;
        Ok(0) // The guest gets the worker's answer.
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let calls = self.calls.load(Ordering::Relaxed);
        let message = format!("unloaded after {calls} calls");
        self.host.log(Level::Information, &message);
    }
}

hcall_plugin::plugin! {
    name: "example-rust",
    state: Example = Example::new,
    handlers: {
        DIVIDE => Example::divide,
        CAPITALS => Example::capitals,
        CHECKSUM => Example::checksum,
    },
}
