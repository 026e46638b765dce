// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether there is a Python to run the example with: the test says that it is skipped if not.

use std::process::{Command, Stdio};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(python3)");
    println!("cargo::rerun-if-env-changed=PATH");
    let found = Command::new("python3")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if found {
        println!("cargo::rustc-cfg=python3");
    }
}
