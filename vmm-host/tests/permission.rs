// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall-vmm` without permission on the KVM device, and on an image. Alone in its process: it writes the
//! program that it then starts, which fails while another thread of the process forks.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

const NOBODY: u32 = 65534;
const STATUS_VMM: i32 = hcall_vmm::cli::STATUS_VMM as i32;

#[test]
fn no_permission_on_kvm_or_image() {
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
    let is_root = directory.metadata().expect("it is there").uid() == 0;
    let output_of = |arguments: &[&str]| {
        let mut process = Command::new(&command);
        process.args(arguments).arg(&device);
        if is_root {
            process.uid(NOBODY);
        }
        process.output()
    };
    // The device as KVM, and as the guest's image.
    let outputs = [output_of(&["probe", "--kvm"]), output_of(&["run"])];
    std::fs::remove_dir_all(&directory).expect("ours to remove");
    let reasons = ["group that owns it", "Permission denied"];
    for (output, reason) in outputs.into_iter().zip(reasons) {
        let output = output.expect("the command starts");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(STATUS_VMM), "{text}");
        assert!(text.contains(reason), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
