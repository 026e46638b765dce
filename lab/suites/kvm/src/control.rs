// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall-vmm ctl`, while a guest calls: handlers come and go, and every call has an answer;
//! the VM pauses, goes on and ends; what it counts is what was called.

use hcall_abi::TransportSet;
use hcall_ktap::{CaseResult, Suite, Verdict};
use hcall_lab_contract::{SWAPPED, SWAPPED_BEGINS};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Nothing that a case waits for takes as long.
const LIMIT: Duration = Duration::from_secs(300);

/// Fewer changes than this show nothing.
const LEAST_CHANGES: usize = 12;

/// How long a VM that is paused is looked at.
const PAUSE: Duration = Duration::from_millis(300);

#[derive(Clone, Debug)]
struct Setting {
    vmm: PathBuf,
    guests: PathBuf,
}

pub(crate) fn add_cases<'a>(
    suite: Suite<'a>,
    vmm: &Path,
    guests: &Path,
    working: TransportSet,
    calls: u64,
) -> Suite<'a> {
    let setting = Setting {
        vmm: vmm.into(),
        guests: guests.into(),
    };
    let [swaps, pauses] = [setting.clone(), setting];
    let if_working = move |case: &dyn Fn() -> CaseResult| match working.is_empty() {
        true => Ok(Verdict::Skip("no transport works on this machine".into())),
        false => case(),
    };
    let suite = match calls {
        0 => suite,
        _ => suite.case(
            format!("ctl: handlers are added, replaced and removed during {calls} calls"),
            move || if_working(&|| change_handlers(&swaps, calls)),
        ),
    };
    suite.case("ctl: the VM pauses, goes on, and ends", move || {
        if_working(&|| pause_resume_stop(&pauses))
    })
}

/// A running `hcall-vmm run swapped --control …`.
struct RunningVm {
    child: Child,
    console: BufReader<std::process::ChildStdout>,
    vmm: PathBuf,
    socket: PathBuf,
}

impl RunningVm {
    /// Starts it, and waits until the guest calls.
    fn start(setting: &Setting, calls: u64) -> Result<Self, String> {
        let directory = std::env::temp_dir();
        std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        let socket = directory.join("hcall-ctl.sock");
        let mut child = Command::new(&setting.vmm)
            .arg("run")
            .arg(setting.guests.join("swapped"))
            .args(["--append", &calls.to_string(), "--stats", "--control"])
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot run {}: {error}", setting.vmm.display()))?;
        let console = child.stdout.take().ok_or("no standard output")?;
        let mut vm = Self {
            child,
            console: BufReader::new(console),
            vmm: setting.vmm.clone(),
            socket,
        };
        let mut line = String::new();
        let read = vm.console.read_line(&mut line);
        if read.is_err() || line.trim_end() != SWAPPED_BEGINS {
            return Err(format!(
                "the guest does not begin: {line}{}",
                vm.complaint()
            ));
        }
        Ok(vm)
    }

    fn ctl(&self, arguments: &[&str]) -> Result<Output, String> {
        Command::new(&self.vmm)
            .arg("ctl")
            .arg(&self.socket)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot run {}: {error}", self.vmm.display()))
    }

    /// What `ctl` prints; an error if it fails.
    fn ask(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.ctl(arguments)?;
        if !output.status.success() {
            return Err(format!("ctl {arguments:?}: {}", complaint(&output)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What the guest prints from now on, until the VM ends; its status, and what was printed
    /// besides.
    fn finish(mut self) -> Result<(ExitStatus, String, String), String> {
        let mut console = String::new();
        self.console
            .read_to_string(&mut console)
            .map_err(|error| error.to_string())?;
        let complaint = self.complaint();
        let status = self.child.wait().map_err(|error| error.to_string())?;
        Ok((status, console, complaint))
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    fn complaint(&mut self) -> String {
        let mut text = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            let _ = stderr.read_to_string(&mut text);
        }
        text
    }
}

impl Drop for RunningVm {
    fn drop(&mut self) {
        // Whatever happened, the guest must not outlive the case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    format!("{}: {}", output.status, text.trim_end())
}

/// The number of the lines `name … COUNT`, by name.
fn count_after(text: &str, name: &str) -> Result<u64, String> {
    text.lines()
        .filter_map(|line| {
            line.trim()
                .trim_end_matches(',')
                .split_once(char::is_whitespace)
        })
        .find(|(found, _)| found.trim_end_matches(':') == name)
        .and_then(|(_, count)| count.trim().parse().ok())
        .ok_or_else(|| format!("no count of {name} in: {text}"))
}

/// What the guest counted, by answer.
fn answers(console: &str) -> Result<BTreeMap<String, u64>, String> {
    console
        .lines()
        .map(|line| {
            let (answer, count) = line.split_once(' ')?;
            Some((answer.to_owned(), count.parse().ok()?))
        })
        .collect::<Option<_>>()
        .ok_or_else(|| format!("not counts: {console}"))
}

fn change_handlers(setting: &Setting, calls: u64) -> CaseResult {
    let mut vm = RunningVm::start(setting, calls)?;
    let (changes, values) = change_until_it_ends(&mut vm)?;
    let (status, console, complaint) = vm.finish()?;
    println!(
        "# {changes} changes; the guest's answers: {}",
        console.replace('\n', "; ")
    );
    if !status.success() {
        return Err(format!("{status}: {complaint}"));
    }
    let answers = answers(&console)?;
    let total: u64 = answers.values().sum();
    if total != calls {
        return Err(format!("{total} of {calls} calls were answered: {console}"));
    }
    let absent = answers.get("ENOSYS").copied().unwrap_or(0);
    for answer in answers.keys().filter(|answer| *answer != "ENOSYS") {
        if !values.contains(answer) {
            return Err(format!("nobody answers {answer}: {console}"));
        }
    }
    if changes < LEAST_CHANGES || absent == 0 || answers.len() < 3 {
        return Err(format!(
            "{changes} changes, of which the guest saw: {console}"
        ));
    }
    expect_counts(&complaint, calls, absent)?;
    Ok(Verdict::Pass)
}

/// Adds, replaces and removes the handler of the number that the guest calls, again and again;
/// how often, and the values that some handler answered.
fn change_until_it_ends(vm: &mut RunningVm) -> Result<(usize, Vec<String>), String> {
    let number = SWAPPED.get().to_string();
    let mut values = Vec::new();
    let mut changes = 0;
    let start = Instant::now();
    loop {
        for action in ["add", "replace", "replace", "remove"] {
            let value = (changes % 10).to_string();
            let argument = match action {
                "remove" => number.clone(),
                _ => format!("{number}=value:{value}"),
            };
            let output = vm.ctl(&[action, &argument])?;
            if !output.status.success() {
                if output.status.code() == Some(1) || !ends_soon(vm) {
                    return Err(format!("{action} {argument}: {}", complaint(&output)));
                }
                return Ok((changes, values));
            }
            if action != "remove" && !values.contains(&value) {
                values.push(value);
            }
            changes += 1;
            if start.elapsed() > LIMIT {
                return Err(format!("the guest still calls after {LIMIT:?}"));
            }
            // Each handler has its time.
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Whether the VM that could not be asked has ended, or is just about to.
fn ends_soon(vm: &mut RunningVm) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        if vm.has_ended() {
            return true;
        }
        thread::sleep(Duration::from_millis(10));
    }
    false
}

/// What `--stats` printed is what the guest counted.
fn expect_counts(stats: &str, calls: u64, absent: u64) -> Result<(), String> {
    let unknown = count_after(stats, "unknown")?;
    let row = stats
        .lines()
        .find(|line| line.starts_with(&SWAPPED.to_string()))
        .ok_or_else(|| format!("no row of {SWAPPED}: {stats}"))?;
    let answered = row.split_whitespace().nth(2).unwrap_or("");
    if unknown != absent || answered != (calls - absent).to_string() {
        return Err(format!(
            "the guest counted {absent} of {calls} absent: {stats}"
        ));
    }
    Ok(())
}

fn pause_resume_stop(setting: &Setting) -> CaseResult {
    let vm = RunningVm::start(setting, u64::MAX)?;
    let assignment = format!("{}=value:1", SWAPPED.get());
    vm.ask(&["add", &assignment])?;
    let list = vm.ask(&["list"])?;
    if !list
        .lines()
        .any(|line| line.contains(&SWAPPED.to_string()) && line.contains("value:1"))
    {
        return Err(format!("it is not in the list: {list}"));
    }
    for _ in 0..5 {
        vm.ask(&["pause"])?;
        let paused = calls(&vm, "paused")?;
        thread::sleep(PAUSE);
        if calls(&vm, "paused")? != paused {
            return Err("a VM that is paused makes calls".into());
        }
        vm.ask(&["resume"])?;
        let start = Instant::now();
        while calls(&vm, "running")? == paused {
            if start.elapsed() > LIMIT {
                return Err("a VM that was resumed makes no calls".into());
            }
        }
    }
    let metrics = vm.ask(&["metrics"])?;
    let of_number = format!("hcall_number_latency_seconds_count{{number=\"{SWAPPED}\"");
    if !metrics.contains("hcall_vm_state{state=\"running\"} 1") || !metrics.contains(&of_number) {
        return Err(format!("metrics without the number: {metrics}"));
    }
    let core_call = vm.ctl(&["remove", "0x48430002"])?;
    if core_call.status.code() != Some(1) {
        return Err(format!(
            "ECHO is not to be removed: {}",
            complaint(&core_call)
        ));
    }
    vm.ask(&["pause"])?;
    vm.ask(&["stop"])?;
    let (status, _, complaint) = vm.finish()?;
    match status.code() {
        Some(0) => Ok(Verdict::Pass),
        _ => Err(format!("stopped by ctl: {status}: {complaint}")),
    }
}

/// The calls that the VM has counted, which is in this state.
fn calls(vm: &RunningVm, state: &str) -> Result<u64, String> {
    let stats = vm.ask(&["stats"])?;
    let is_in_it = stats
        .lines()
        .any(|line| line.split_whitespace().eq(["state", state]));
    if !is_in_it {
        return Err(format!("not {state}: {stats}"));
    }
    count_after(&stats, "calls")
}
