// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `hcall-vmm`: see [`hcall_vmm::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    hcall_vmm::cli::main(|_| Ok(()))
}
