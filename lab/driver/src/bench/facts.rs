// SPDX-License-Identifier: MIT OR Apache-2.0
//! What machine this is: without it no figure says anything.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

/// Names and values.
pub(super) type Facts = BTreeMap<String, String>;

pub(super) fn gather() -> Facts {
    let cpuinfo = read("/proc/cpuinfo").unwrap_or_default();
    let processors = available_parallelism().map_or(0, |count| count.get());
    let frequency = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    [
        ("processor", field(&cpuinfo, "model name")),
        ("virtualization", Some(virtualization(&cpuinfo).to_owned())),
        ("this machine is", Some(kind(&cpuinfo).to_owned())),
        ("processors", Some(processors.to_string())),
        ("frequency governor", frequency.or(Some("none".to_owned()))),
        ("kernel", read("/proc/sys/kernel/osrelease")),
        ("load before", read("/proc/loadavg")),
        ("QEMU", first_line_of("qemu-system-x86_64", "--version")),
        ("date", first_line_of("date", "--iso-8601=seconds")),
        (
            "revision",
            first_line_of("git", "describe --always --dirty"),
        ),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect()
}

pub(super) fn has_hardware_virtualization() -> bool {
    let cpuinfo = read("/proc/cpuinfo").unwrap_or_default();
    let mut flags = flags(&cpuinfo);
    flags.any(|flag| ["svm", "vmx"].contains(&flag))
}

fn virtualization(cpuinfo: &str) -> &'static str {
    let has = |name| flags(cpuinfo).any(|flag| flag == name);
    if has("svm") {
        "SVM"
    } else if has("vmx") {
        "VMX"
    } else {
        "neither SVM nor VMX: a KVM here is software"
    }
}

fn kind(cpuinfo: &str) -> &'static str {
    if flags(cpuinfo).any(|flag| flag == "hypervisor") {
        "a virtual machine itself"
    } else {
        "no virtual machine"
    }
}

fn flags(cpuinfo: &str) -> impl Iterator<Item = &str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("flags"));
    line.unwrap_or_default().split_whitespace()
}

fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn read(file: &str) -> Option<String> {
    Some(fs::read_to_string(file).ok()?.trim().to_owned())
}

fn first_line_of(program: &str, arguments: &str) -> Option<String> {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(str::to_owned)
}
