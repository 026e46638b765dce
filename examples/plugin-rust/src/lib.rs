// SPDX-License-Identifier: MIT OR Apache-2.0
//! A plugin in Rust. `cargo build --package hcall-plugin-example`, then
//! `hcall-vmm run IMAGE --plugin target/debug/libhcall_plugin_example.so`.

use hcall_plugin::{Call, Errno, Gpa, Host, HypercallNumber, HypercallResult, Level};
use std::sync::atomic::{AtomicU64, Ordering};

/// `DIVIDE(a, b)` → a / b. Nobody checks b: the handler panics, and the VM goes on.
const DIVIDE: HypercallNumber = HypercallNumber::user(0x10);
/// `CAPITALS(gpa, length)` → length, at most 4096; makes the text's letters capitals.
const CAPITALS: HypercallNumber = HypercallNumber::user(0x11);

/// What all handlers share, on whichever threads they run.
struct Example {
    host: Host,
    calls: AtomicU64,
}

impl Example {
    fn new(host: Host) -> Result<Self, Errno> {
        let calls = AtomicU64::new(0);
        Ok(Self { host, calls })
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
    },
}
