// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `hcall`: see the library.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    hcall_cli::main()
}
