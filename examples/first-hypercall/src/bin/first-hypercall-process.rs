// SPDX-License-Identifier: MIT OR Apache-2.0
//! A process's side: the same call over `/dev/hcall`.

use hcall_guest::device::hcall3;
use hcall_guest::HypercallNumber;
use std::process::ExitCode;

const PRINT: HypercallNumber = HypercallNumber::user(0x000);

fn main() -> ExitCode {
    match hcall3(PRINT, 7, 8, 9) {
        Ok(answer) => {
            println!("process: the host answered {answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("process: {error}");
            ExitCode::FAILURE
        }
    }
}
