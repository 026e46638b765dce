// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Python of `docs/guide.md` that calls by `/dev/hcall`, run with something in the device's
//! place: what it asks for is a call as the ABI has it, and it prints the answer.

use hcall_abi::ioctl::CALL;
use std::process::Command;

const GUIDE: &str = include_str!("../../../docs/guide.md");
const BLOCK: &str = "<!-- python: CALL -->\n```python\n";

/// Opens nothing; prints the request, and answers it with 42 in the last field.
const IN_PLACE: &str = "\
import builtins, contextlib, fcntl
def ioctl(device, request, call):
    print(device, hex(request), call.hex())
    return call[:-8] + (42).to_bytes(8, 'little')
fcntl.ioctl = ioctl
builtins.open = lambda path, mode, buffering: contextlib.nullcontext(path)
";

#[test]
#[cfg_attr(not(python3), ignore = "python3 is not installed")]
fn the_python_of_the_guide_makes_a_call() {
    let (_, block) = GUIDE.split_once(BLOCK).expect("the block");
    let (program, _) = block.split_once("```").expect("its end");
    let output = Command::new("python3")
        .args(["-c", &format!("{IN_PLACE}{program}")])
        .output()
        .expect("it starts");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");

    // Number and flags, of 32 bits each; four arguments and the result.
    let mut call: Vec<u8> = [0x4843_8000_u32, 0].map(u32::to_le_bytes).concat();
    call.extend([16_u64, 17, 18, 0, 0].map(u64::to_le_bytes).concat());
    let call: String = call.iter().map(|byte| format!("{byte:02x}")).collect();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(printed, format!("/dev/hcall {CALL:#x} {call}\n42\n"));
}
