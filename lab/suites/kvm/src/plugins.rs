// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall-vmm --plugin`: handlers in shared objects answer a guest. The command is linked
//! dynamically there, as this program is not.

use crate::plugin_swaps::{swap, CALLS};
use hcall_abi::TransportSet;
use hcall_ktap::{CaseResult, Suite, Verdict};
use hcall_lab_contract::{DEFERRED_CALLS, DEFERRED_FOR, INJECTED};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

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
    let [later, interrupts, special] = [setting.clone(), setting.clone(), setting.clone()];
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
        .case("plugins: a thread of their own answers later", move || {
            if_working(&|| answer_later(&later))
        })
        .case("plugins: they give interrupts", move || {
            if_working(&|| interrupt(&interrupts))
        })
        .case(
            "plugins: special registers are the guest's own, and are set",
            move || if_working(&|| compare_special_registers(&special)),
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
    // Of the Rust plugin's six calls one panicked, and its end was seen.
    let parts = [
        "panicked: 1",
        "unloaded after 6 calls",
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

/// Runs a guest whose calls the plugin `context` answers; what it printed.
fn run_with_context(setting: &Setting, guest: &str, command_line: &str) -> Result<Said, String> {
    let mut command = setting.command(&setting.vmm, guest, &["context.so"]);
    command.args(["--append", command_line, "--stats"]);
    let output = output(command)?;
    let said = Said {
        console: String::from_utf8_lossy(&output.stdout).into_owned(),
        complaints: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    match output.status.success() {
        true => Ok(said),
        false => Err(format!("{}: {said:?}", output.status)),
    }
}

/// What a guest and its VMM printed.
#[derive(Debug)]
struct Said {
    console: String,
    complaints: String,
}

impl Said {
    fn expect(&self, console: &str) -> CaseResult {
        if self.console == console {
            return Ok(Verdict::Pass);
        }
        Err(format!("{self:?}"))
    }
}

fn answer_later(setting: &Setting) -> CaseResult {
    let start = Instant::now();
    let said = run_with_context(setting, "deferred", "later")?;
    let least = Duration::from_millis(DEFERRED_CALLS * DEFERRED_FOR);
    if start.elapsed() < least {
        return Err(format!("the answers came before {least:?} had passed"));
    }
    // The dropped one, and one in a batch.
    if !said.complaints.contains("failed: 2") {
        return Err(format!("not two calls have failed: {said:?}"));
    }
    said.expect("answered later\n")
}

fn interrupt(setting: &Setting) -> CaseResult {
    let said = run_with_context(setting, "interrupts", "")?;
    said.expect(&format!("{} and {INJECTED} interrupts\n", 1 + INJECTED))
}

fn compare_special_registers(setting: &Setting) -> CaseResult {
    let said = run_with_context(setting, "special", "")?;
    said.expect("special registers agree\n")
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
