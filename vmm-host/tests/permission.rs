// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall-vmm` without permission on the KVM device. Alone in its process: it writes the
//! program that it then starts, which fails while another thread of the process forks.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

const NOBODY: u32 = 65534;
const STATUS_VMM: i32 = hcall_vmm::cli::STATUS_VMM as i32;

#[test]
fn no_permission_on_kvm() {
    // In a directory that every user can enter, which the build's may not be.
    let directory = std::env::temp_dir().join(format!("hcall-vmm-{}", std::process::id()));
    std::fs::create_dir(&directory).expect("a new temporary directory");
    let command = directory.join("hcall-vmm");
    std::fs::copy(env!("CARGO_BIN_EXE_hcall-vmm"), &command).expect("the command is readable");
    let device = directory.join("kvm");
    std::fs::write(&device, "").expect("the directory is new");
    for (path, mode) in [(&directory, 0o755), (&command, 0o755), (&device, 0o000)] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("ours to change");
    }
    let mut process = Command::new(&command);
    process.args(["probe", "--kvm"]).arg(&device);
    let is_root = directory.metadata().expect("it is there").uid() == 0;
    if is_root {
        process.uid(NOBODY);
    }
    let output = process.output();
    std::fs::remove_dir_all(&directory).expect("ours to remove");
    let output = output.expect("the command starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(STATUS_VMM), "{text}");
    assert!(text.contains("group that owns it"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}
