// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers `SWAPPED` with 2, and says at its end how often it did.

use hcall_lab_contract::SWAPPED;
use hcall_plugin::{Call, Errno, Host, HypercallResult, Level};
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

/// What tells this plugin's answers from others'.
const ANSWER: u64 = 2;

struct Counted {
    host: Host,
    calls: AtomicU64,
}

thread_local! {
    /// With a destructor, so that the shared object stays for longer than the plugin.
    static SEEN: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl Counted {
    fn new(host: Host) -> Result<Self, Errno> {
        let calls = AtomicU64::new(0);
        Ok(Self { host, calls })
    }

    fn answer(&self, call: &mut Call<'_>) -> HypercallResult {
        SEEN.with_borrow_mut(|seen| {
            seen.clear();
            seen.push(call.arg::<0>());
        });
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(ANSWER)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let calls = self.calls.load(Ordering::Relaxed);
        let message = format!("answered {ANSWER} to {calls} calls");
        self.host.log(Level::Warning, &message);
    }
}

hcall_plugin::plugin! {
    name: "swapped-rust",
    state: Counted = Counted::new,
    handlers: { SWAPPED => Counted::answer },
}
