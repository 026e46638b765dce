// SPDX-License-Identifier: MIT OR Apache-2.0
//! `compromised-vmm`: `hcall-vmm` with a handler that has been taken over. It tries, at the
//! guest's call, what its thread must not get, and says on standard error what came of it:
//! thread, outcome and attempt, a line for each. Or it never returns.

// What the tests of vmm-host alone use is dead here.
#[allow(dead_code)]
#[path = "../../../../../vmm-host/tests/sandbox/attempts.rs"]
mod attempts;

use attempts::{is_refusal, ATTEMPTS};
use hcall_abi::Errno;
use hcall_lab_contract::{ATTEMPT, HANG};
use std::process::ExitCode;
use std::thread;

fn main() -> ExitCode {
    hcall_vmm::cli::main(|hypercalls| {
        hypercalls.register(ATTEMPT, |call| {
            if call.arg::<0>() == HANG {
                eprintln!("hanging");
                loop {
                    thread::park();
                }
            }
            let index = usize::try_from(call.arg::<0>()).map_err(|_| Errno::EINVAL)?;
            let attempt = ATTEMPTS.get(index).ok_or(Errno::EINVAL)?;
            let thread = thread::current();
            let thread = thread.name().unwrap_or("?");
            let name = attempt.name;
            match attempt.make() {
                Ok(()) => eprintln!("{thread}\tsucceeded\t{name}"),
                Err(error) if is_refusal(attempt, &error) => {
                    eprintln!("{thread}\trefused\t{name}");
                }
                Err(error) => eprintln!("{thread}\tfailed\t{name}: {error}"),
            }
            Ok(0)
        })
    })
}
