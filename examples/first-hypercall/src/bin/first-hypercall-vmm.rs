// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's side: `hcall-vmm` with one handler more, registered in three lines.

use hcall_vmm::HypercallNumber;
use std::process::ExitCode;

const PRINT: HypercallNumber = HypercallNumber::user(0x000);

fn main() -> ExitCode {
    hcall_vmm::cli::main(|hypercalls| {
        hypercalls.register(PRINT, |call| {
            let [a, b, c, _] = call.args();
            println!("param1={a} param2={b} param3={c}");
            Ok(0)
        })
    })
}
