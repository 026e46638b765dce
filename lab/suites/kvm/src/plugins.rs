// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall-vmm --plugin`: handlers in shared objects answer a guest. The command is linked
//! dynamically there, as this program is not.

use crate::plugin_swaps::{swap, CALLS};
use hcall_abi::TransportSet;
use hcall_ktap::{CaseResult, Suite, Verdict};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Exit status of `hcall-vmm` when there was no VM to run.
const STATUS_VMM: i32 = 125;

/// What the cases need.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// The command, linked dynamically.
    pub(crate) vmm: PathBuf,
    /// The same, linked statically.
    pub(crate) static_vmm: Option<PathBuf>,
    /// The shared objects.
    pub(crate) plugins: PathBuf,
    /// The unikernels.
    pub(crate) guests: PathBuf,
}

pub(crate) fn add_cases<'a>(
    suite: Suite<'a>,
    setting: &Setting,
    working: TransportSet,
) -> Suite<'a> {
    let [answer, swaps] = [setting.clone(), setting.clone()];
    let [twice, is_static] = [setting.clone(), setting.clone()];
    let if_working = move |case: &dyn Fn() -> CaseResult| match working.is_empty() {
        true => Ok(Verdict::Skip("no transport works on this machine".into())),
        false => case(),
    };
    suite
        .case(
            "plugins: in C and in Rust, they answer a guest",
            move || if_working(&|| answer_a_guest(&answer)),
        )
        .case(
            format!("plugins: handlers come and go during {CALLS} calls"),
            move || if_working(&|| swap(&swaps)),
        )
        .case("plugins: two cannot have one number", move || {
            refuse_a_number_taken(&twice)
        })
        .case(
            "plugins: a statically linked program says that it can load none",
            move || refuse_where_static(&is_static),
        )
}

impl Setting {
    pub(crate) fn plugin(&self, name: &str) -> PathBuf {
        self.plugins.join(name)
    }

    /// `hcall-vmm run GUEST`, with these plugins.
    pub(crate) fn command(&self, vmm: &Path, guest: &str, plugins: &[&str]) -> Command {
        let mut command = Command::new(vmm);
        command
            .arg("run")
            .arg(self.guests.join(guest))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for plugin in plugins {
            command.arg("--plugin").arg(self.plugin(plugin));
        }
        command
    }
}

fn output(mut command: Command) -> Result<Output, String> {
    command
        .output()
        .map_err(|error| format!("cannot run {command:?}: {error}"))
}

fn answer_a_guest(setting: &Setting) -> CaseResult {
    let plugins = ["example-c.so", "example-rust.so"];
    let mut command = setting.command(&setting.vmm, "plugins", &plugins);
    command.args(["--stats", "--verbose"]);
    let output = output(command)?;
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let ended = output.status.success() && said == "plugins answer\n";
    // Of the Rust plugin's five calls one panicked, and its end was seen.
    let parts = [
        "panicked: 1",
        "unloaded after 5 calls",
        "plugin=example-rust",
    ];
    match parts.into_iter().find(|part| !complained.contains(part)) {
        None if ended => Ok(Verdict::Pass),
        missing => Err(format!(
            "{}; missing: {missing:?}; {said}{complained}",
            output.status
        )),
    }
}

fn refuse_a_number_taken(setting: &Setting) -> CaseResult {
    let plugins = ["swapped-c.so", "swapped-rust.so"];
    let output = output(setting.command(&setting.vmm, "swapped", &plugins))?;
    expect_refusal(&output, "has a handler already")
}

fn refuse_where_static(setting: &Setting) -> CaseResult {
    let Some(vmm) = &setting.static_vmm else {
        return Ok(Verdict::Skip(
            "no statically linked hcall-vmm was given".into(),
        ));
    };
    let output = output(setting.command(vmm, "swapped", &["swapped-c.so"]))?;
    expect_refusal(&output, "linked statically")
}

fn expect_refusal(output: &Output, reason: &str) -> CaseResult {
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(STATUS_VMM) && text.contains(reason) {
        return Ok(Verdict::Pass);
    }
    Err(format!("{}: {text}", output.status))
}
