// SPDX-License-Identifier: MIT OR Apache-2.0
//! Command lines: QEMU's translated, and both kinds read.

use crate::input::Input;
use hcall_vmm::extend::{Assignment, HandlerSource};
use hcall_vmm::fuzzing::{read_command_line, translate_command_line};
use hcall_vmm::vmm::{MemorySize, VcpuCount};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Arguments, one a line.
pub fn command_line(data: &[u8]) {
    let mut input = Input::new(data);
    // Reading takes long, as the description of all arguments is built anew each time.
    let reads = input.u8() % 16 == 0;
    let mut arguments = vec![OsString::from("hcall-vmm")];
    let lines = input.rest().split(|byte| *byte == b'\n');
    arguments.extend(lines.map(|line| OsStr::from_bytes(line).to_owned()));
    for text in arguments.iter().filter_map(|argument| argument.to_str()) {
        values(text);
    }
    match translate_command_line(arguments.clone()) {
        Ok(translated) => {
            assert!(translated.len() <= arguments.len() + 2);
            assert_eq!(translated[0], arguments[0]);
            if translated != arguments {
                assert_eq!(translated[1], "run");
                assert!(translated.iter().any(|argument| argument == "--"));
            }
        }
        Err(error) => assert!(!error.is_empty()),
    }
    if reads {
        if let Err(error) = read_command_line(arguments) {
            assert!(!error.is_empty());
        }
    }
}

/// The values of options, as text.
fn values(text: &str) {
    if let Ok(size) = text.parse::<MemorySize>() {
        assert!((MemorySize::MIN..=MemorySize::MAX).contains(&size));
        assert_eq!(size.to_string().parse(), Ok(size));
    }
    if let Ok(source) = text.parse::<HandlerSource>() {
        assert_eq!(source.to_string().parse(), Ok(source));
    }
    if let Err(error) = text.parse::<Assignment>() {
        assert!(!error.to_string().is_empty());
    }
    if let Ok(count) = text.parse::<VcpuCount>() {
        assert_eq!(VcpuCount::new(count.get()), Ok(count));
    }
}
