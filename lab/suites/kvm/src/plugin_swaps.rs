// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers of two plugins, one in C and one in Rust, are added, replaced by each other's and
//! removed by `hcall-vmm ctl` while a guest calls: every call is answered by one of them, or is
//! not implemented while there is none, and each counts what it answered.

use crate::plugins::Setting;
use hcall_ktap::{CaseResult, Verdict};
use hcall_lab_contract::{SWAPPED, SWAPPED_BEGINS};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus};
use std::thread;
use std::time::Duration;

/// Calls of the guest.
pub(crate) const CALLS: u64 = 100_000;

/// The fewest changes that have to be made while it calls: two rounds.
const LEAST_CHANGES: usize = 2 * ROUND.len();

/// Exit status of `ctl` where the VM has refused.
const STATUS_REFUSED: i32 = 1;

/// What a VM may take to end after it could not be asked any more.
const END_LIMIT: Duration = Duration::from_secs(20);

/// The plugins, and what they answer.
const PLUGINS: [(&str, &str); 2] = [("swapped-c.so", "1"), ("swapped-rust.so", "2")];

/// One round of changes: what `ctl` is asked, with which of the plugins.
const ROUND: [(&str, Option<usize>); 6] = [
    ("add", Some(0)),
    ("replace", Some(1)),
    ("remove", None),
    ("add", Some(1)),
    ("replace", Some(0)),
    ("remove", None),
];

pub(crate) fn swap(setting: &Setting) -> CaseResult {
    let mut vm = Running::start(setting)?;
    let loads = vm.change_until_it_ends(setting)?;
    let (status, said, complained) = vm.finish()?;
    if !status.success() {
        return Err(format!("{status}: {said}{complained}"));
    }
    println!(
        "# loads: {loads:?}; the guest counted: {}",
        said.trim().replace('\n', ", ")
    );
    check(&loads, &said, &complained).map_err(|reason| format!("{reason}: {said}{complained}"))?;
    Ok(Verdict::Pass)
}

/// A VM whose guest calls.
struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
    socket: PathBuf,
}

impl Running {
    fn start(setting: &Setting) -> Result<Self, String> {
        let directory = std::env::temp_dir();
        std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        let socket = directory.join(format!("plugins-{}.sock", std::process::id()));
        let mut child = setting
            .command(&setting.vmm, "swapped", &[])
            .args(["--append", &CALLS.to_string(), "--control"])
            .arg(&socket)
            .spawn()
            .map_err(|error| format!("cannot run {}: {error}", setting.vmm.display()))?;
        let output = child.stdout.take().ok_or("no standard output")?;
        let mut running = Self {
            child,
            output: BufReader::new(output),
            socket,
        };
        let mut line = String::new();
        let read = running.output.read_line(&mut line);
        if read.is_err() || line.trim_end() != SWAPPED_BEGINS {
            return Err(format!("{line}{}", running.complaints()));
        }
        Ok(running)
    }

    /// How often each plugin was loaded.
    fn change_until_it_ends(&mut self, setting: &Setting) -> Result<[usize; 2], String> {
        let number = SWAPPED.get();
        let mut loads = [0; 2];
        for (changes, (action, plugin)) in ROUND.iter().cycle().enumerate() {
            let argument = match plugin {
                Some(plugin) => {
                    let (name, _) = PLUGINS[*plugin];
                    format!("{number}=plugin:{}", setting.plugin(name).display())
                }
                None => number.to_string(),
            };
            let output = Command::new(&setting.vmm)
                .arg("ctl")
                .arg(&self.socket)
                .args([action, argument.as_str()])
                .output()
                .map_err(|error| error.to_string())?;
            if !output.status.success() {
                let is_refused = output.status.code() == Some(STATUS_REFUSED);
                if !is_refused && self.ends() && changes >= LEAST_CHANGES {
                    return Ok(loads);
                }
                let text = String::from_utf8_lossy(&output.stderr);
                let complaints = self.complaints();
                return Err(format!(
                    "change {changes}, {action} {argument}: {text}{complaints}"
                ));
            }
            if let Some(plugin) = plugin {
                loads[*plugin] += 1;
            }
            // Each has its time, an absent one too.
            thread::sleep(Duration::from_millis(10));
        }
        unreachable!("the changes are repeated for ever")
    }

    /// Whether the VM that could not be asked ends by itself.
    fn ends(&mut self) -> bool {
        const LOOK: Duration = Duration::from_millis(20);
        let looks = END_LIMIT.as_millis() / LOOK.as_millis();
        (0..looks).any(|_| {
            thread::sleep(LOOK);
            matches!(self.child.try_wait(), Ok(Some(_)))
        })
    }

    /// The VM's end, what the guest has printed since it began, and what was logged.
    fn finish(mut self) -> Result<(ExitStatus, String, String), String> {
        let mut said = String::new();
        self.output
            .read_to_string(&mut said)
            .map_err(|error| error.to_string())?;
        let status = self.child.wait().map_err(|error| error.to_string())?;
        let complained = self.complaints();
        Ok((status, said, complained))
    }

    /// What was logged, of a VM that has ended or is ended here.
    fn complaints(&mut self) -> String {
        let _ = self.child.kill();
        let mut text = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            let _ = stderr.read_to_string(&mut text);
        }
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Whatever happened, the guest must not outlive the case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the guest counted is all of its calls; and of each plugin's answers it is what the
/// plugin's copies say at their ends, of which there are as many as were loaded.
fn check(loads: &[usize; 2], said: &str, logged: &str) -> Result<(), String> {
    let mut counts = said
        .lines()
        .map(|line| {
            let (answer, count) = line.split_once(' ')?;
            Some((answer, count.parse::<u64>().ok()?))
        })
        .collect::<Option<Vec<_>>>()
        .ok_or("the guest did not count")?;
    if counts.iter().map(|(_, count)| count).sum::<u64>() != CALLS {
        return Err(format!("not {CALLS} answers"));
    }
    for ((name, answer), loads) in PLUGINS.iter().zip(loads) {
        let start = format!("answered {answer} to ");
        let ends = logged.split(&start).skip(1);
        let of_plugin: Vec<u64> = ends
            .filter_map(|end| end.split(' ').next()?.parse().ok())
            .collect();
        if of_plugin.len() != *loads {
            return Err(format!(
                "{name}: {loads} loads and {} ends",
                of_plugin.len()
            ));
        }
        let answered = of_plugin.iter().sum();
        let place = counts
            .iter()
            .position(|count| *count == (*answer, answered));
        counts.remove(place.ok_or(format!("{name} answered {answered} calls"))?);
    }
    match counts[..] {
        [("ENOSYS", _)] => Ok(()),
        _ => Err("other answers, or none while there was no handler".into()),
    }
}
