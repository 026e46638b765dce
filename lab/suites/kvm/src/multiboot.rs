// SPDX-License-Identifier: MIT OR Apache-2.0
//! Multiboot images, 32-bit and 64-bit: what they are told, and how they end.

use crate::handlers::Arguments;
use crate::running::run;
use crate::unikernels::equal;
use hcall_abi::TransportSet;
use hcall_ktap::{CaseResult, Suite, Verdict};
use hcall_vmm::vmm::{DebugExit, End, MemorySize, TransportChoice, VmConfig};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

const GUESTS: [&str; 2] = ["multiboot64", "multiboot32"];
/// What the guests write to the port in the end, and what becomes of it.
const WRITTEN: u8 = 42;
const STATUS: u8 = WRITTEN * 2 + 1;

const MEMORY_MEBIBYTES: u64 = 64;
const COMMAND_LINE: &str = "two words";
const CONTENT: &str = "NR_CPUS=1\nnothing ends it";

pub(crate) fn add_cases<'a>(mut suite: Suite<'a>, guests: &Path, vmm: Option<&Path>) -> Suite<'a> {
    for guest in GUESTS {
        let kernel = guests.join(guest);
        suite = suite.case(
            format!("{guest}: gets its command line, module and memory map"),
            move || with_module(&kernel, library),
        );
        let Some(vmm) = vmm.map(Path::to_owned) else {
            continue;
        };
        let kernel = guests.join(guest);
        suite = suite.case(
            format!("{guest}: hcall-vmm takes QEMU's command line for it"),
            move || with_module(&kernel, |kernel, module| command(&vmm, kernel, module)),
        );
    }
    suite
}

/// Runs `case` with the kernel, and a file to be its module.
fn with_module(kernel: &Path, case: impl FnOnce(&Path, &Path) -> CaseResult) -> CaseResult {
    let module = module_path();
    let directory = module.parent().ok_or("no directory for the module")?;
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&module, CONTENT))
        .map_err(|error| format!("cannot write {}: {error}", module.display()))?;
    let result = case(kernel, &module);
    let removed = fs::remove_file(&module);
    let verdict = result?;
    removed.map_err(|error| error.to_string())?;
    Ok(verdict)
}

fn module_path() -> PathBuf {
    std::env::temp_dir().join(format!("hcall-module-{}", std::process::id()))
}

/// What the guest prints of a VM with so much memory.
fn due(kernel: &Path, module: &Path, mebibytes: u64) -> String {
    const LOWER: u64 = 0x9_fc00;
    let upper = (mebibytes - 1) << 20;
    format!(
        "loader hcall-vmm\n\
         command line {} {COMMAND_LINE}\n\
         lower {:08x}\n\
         upper {:08x}\n\
         modules 00000001\n\
         string {}\n\
         content {CONTENT}\n\
         range {:016x} {LOWER:016x} 00000001\n\
         range {:016x} {upper:016x} 00000001\n",
        kernel.display(),
        LOWER >> 10,
        upper >> 10,
        module.display(),
        0,
        1 << 20,
    )
}

fn library(kernel: &Path, module: &Path) -> CaseResult {
    let mut config = VmConfig::new(kernel);
    config.initrd = Some(module.into());
    config.command_line = COMMAND_LINE.into();
    config.memory =
        MemorySize::from_mebibytes(MEMORY_MEBIBYTES).map_err(|error| error.to_string())?;
    config.debug_exit = DebugExit::Present;
    // It makes no call.
    config.transport = TransportChoice::Unprobed(TransportSet::EMPTY);
    let run = run(config, Arguments::Any, LIMIT, |_| {})?;
    run.expect_end(&End::Exit(STATUS))?;
    let due = due(kernel, module, MEMORY_MEBIBYTES);
    equal("console", run.console.as_str(), due.as_str())?;
    Ok(Verdict::Pass)
}

/// As scripts call QEMU, kvm-unit-tests' among them.
fn command(vmm: &Path, kernel: &Path, module: &Path) -> CaseResult {
    let output = Command::new(vmm)
        .args(["-nodefaults", "-vnc", "none", "-serial", "stdio"])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x4"])
        .args(["-m", &MEMORY_MEBIBYTES.to_string()])
        .args(["-append", COMMAND_LINE])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(module)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", vmm.display()))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    equal(
        &format!("exit status ({stderr})"),
        output.status.code(),
        Some(STATUS.into()),
    )?;
    let console = String::from_utf8_lossy(&output.stdout);
    let due = due(kernel, module, MEMORY_MEBIBYTES);
    equal("console", console.as_ref(), due.as_str())?;
    Ok(Verdict::Pass)
}
