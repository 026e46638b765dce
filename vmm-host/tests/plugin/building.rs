// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared objects for the tests.

use hcall_vmm::extend::{Plugin, PluginError};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

/// A file name that no other test of this run has.
pub(crate) fn place(name: &str) -> PathBuf {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    directory().join(format!("{name}-{}-{serial}.so", std::process::id()))
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Builds the shared object of a C file of the checkout, with more arguments for the compiler.
pub(crate) fn build_c(source: &str, arguments: &[&str]) -> PathBuf {
    build_c_against("vmm-host/plugin/include", source, arguments)
}

/// The same, with the header of another directory of the checkout.
pub(crate) fn build_c_against(include: &str, source: &str, arguments: &[&str]) -> PathBuf {
    let source = checkout().join(source);
    let stem = source.file_stem().expect("a file").to_string_lossy();
    let object = place(&stem);
    let output = Command::new("cc")
        .args(["-std=gnu11", "-O1", "-g0", "-shared", "-fPIC"])
        .args(["-pedantic", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(checkout().join(include))
        .args(arguments)
        .arg("-o")
        .args([&object, &source])
        .output()
        .expect("there is a C compiler `cc`, as cargo itself needs one");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    object
}

/// Builds the shared object of the example in Rust.
pub(crate) fn build_rust_example() -> PathBuf {
    let target = directory().join("plugin-rust");
    let output = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--offline", "--quiet"])
        .args(["--package", "hcall-plugin-example", "--target-dir"])
        .arg(&target)
        .current_dir(checkout())
        .output()
        .expect("cargo starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    target.join("debug/libhcall_plugin_example.so")
}

pub(crate) fn try_load(path: &Path) -> Result<Arc<Plugin>, PluginError> {
    let name = path.file_name().expect("a file").to_string_lossy();
    Plugin::load(File::open(path).expect("it is there"), &name)
}

pub(crate) fn load(path: &Path) -> Arc<Plugin> {
    try_load(path).unwrap_or_else(|error| panic!("{error}"))
}

/// Whether the object of this file is in this process' memory.
pub(crate) fn is_mapped(object: &Path) -> bool {
    let name = object.file_name().unwrap().to_string_lossy();
    let maps = fs::read_to_string("/proc/self/maps").expect("there is /proc");
    maps.contains(&format!("/memfd:{name}"))
}
