// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `hcall-vmm` with guests that run: exit statuses, signals, refusals.

use hcall_abi::number::EXIT;
use hcall_abi::{Transport, TransportSet};
use hcall_ktap::{CaseResult, Suite, Verdict};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What the end of a VM may take after a signal.
const STOP_LIMIT: Duration = Duration::from_secs(3);

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
) -> Suite<'a> {
    let setting = Setting {
        vmm: vmm.into(),
        guests: guests.into(),
    };
    let [statuses, signals, spans] = [setting.clone(), setting.clone(), setting.clone()];
    let [forced, refusals] = [setting.clone(), setting];
    suite
        .case("hcall-vmm: the guest's end is the exit status", move || {
            exit_statuses(&statuses)
        })
        .case("hcall-vmm: SIGINT and SIGTERM end it cleanly", move || {
            end_by_signals(&signals)
        })
        .case("hcall-vmm: says every call with -vvv", move || {
            if working.is_empty() {
                return Ok(Verdict::Skip("no transport works on this machine".into()));
            }
            trace_calls(&spans)
        })
        .case(
            "hcall-vmm: offers the one transport it is told",
            move || force_transport(&forced, working),
        )
        .case(
            "hcall-vmm: refuses a transport that does not work",
            move || refuse_transport(&refusals, working),
        )
}

impl Setting {
    fn command(&self, guest: &str, command_line: &str) -> Command {
        let mut command = Command::new(&self.vmm);
        command
            .arg("run")
            .arg(self.guests.join(guest))
            .args(["--append", command_line])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn output(&self, guest: &str, command_line: &str) -> Result<Output, String> {
        self.command(guest, command_line)
            .output()
            .map_err(|error| format!("cannot run {}: {error}", self.vmm.display()))
    }
}

fn exit_statuses(setting: &Setting) -> CaseResult {
    for (guest, command_line, status, error) in [
        ("hello", "", 0, ""),
        ("ends", "return", 0, ""),
        ("ends", "exit", 42, ""),
        ("ends", "panic", 126, "this guest panics on purpose"),
        ("ends", "triple-fault", 126, "triple fault"),
        ("ends", "page-fault", 126, "#PF"),
    ] {
        let output = setting.output(guest, command_line)?;
        let text = String::from_utf8_lossy(&output.stderr);
        if output.status.code() != Some(status) || !text.contains(error) {
            return Err(format!("{guest} {command_line}: {}, {text}", output.status));
        }
    }
    Ok(Verdict::Pass)
}

fn end_by_signals(setting: &Setting) -> CaseResult {
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        let mut child = setting
            .command("ends", "spin")
            .spawn()
            .map_err(|error| error.to_string())?;
        let ended = signal_when_running(&mut child, signal);
        // Whatever happened, the spinning guest must not outlive the case.
        let killed = child.kill();
        let ended = ended?;
        if ended.code() != Some(status) {
            return Err(format!(
                "SIG{signal}: {ended}, expected status {status} ({killed:?})"
            ));
        }
    }
    Ok(Verdict::Pass)
}

/// Sends the signal once the guest has printed, and waits for the end.
fn signal_when_running(child: &mut Child, signal: &str) -> Result<ExitStatus, String> {
    let mut first = [0];
    let stdout = child.stdout.as_mut().ok_or("no standard output")?;
    stdout
        .read_exact(&mut first)
        .map_err(|error| format!("the guest said nothing: {error}"))?;
    send(child.id(), signal)?;
    let start = Instant::now();
    while start.elapsed() < STOP_LIMIT {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(status);
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err(format!("still running {STOP_LIMIT:?} after SIG{signal}"))
}

fn send(process: u32, signal: &str) -> Result<(), String> {
    use rustix::process::{kill_process, Pid, Signal};
    let signal = match signal {
        "INT" => Signal::INT,
        _ => Signal::TERM,
    };
    let process = i32::try_from(process)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or("no such process")?;
    kill_process(process, signal).map_err(|error| error.to_string())
}

/// What the guest's EXIT with 42 is told as; what is said less verbosely has no call in it.
fn trace_calls(setting: &Setting) -> CaseResult {
    let parts = [
        format!(" hypercall{{number={EXIT} origin=Vcpu {{ id: 0, transport: "),
        " called arguments=[42, ".into(),
        " answered answer=".into(),
    ];
    for (option, lines_due) in [("-vvv", 2), ("-vv", 0)] {
        let output = setting
            .command("ends", "exit")
            .arg(option)
            .env("NO_COLOR", "1")
            .output()
            .map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stderr);
        let [call, called, answered] = &parts;
        let of_call: Vec<&str> = text.lines().filter(|line| line.contains(call)).collect();
        let is_told = of_call.len() == lines_due
            && of_call.first().is_none_or(|line| line.contains(called))
            && of_call.last().is_none_or(|line| line.contains(answered));
        if output.status.code() != Some(42) || !is_told {
            return Err(format!("{option}: {}, {text}", output.status));
        }
    }
    Ok(Verdict::Pass)
}

fn run_over(setting: &Setting, transport: Transport) -> Result<Output, String> {
    setting
        .command("hello", "")
        .args(["--stats", "--transport", transport.name()])
        .output()
        .map_err(|error| error.to_string())
}

fn force_transport(setting: &Setting, working: TransportSet) -> CaseResult {
    if working.is_empty() {
        return Ok(Verdict::Skip("no transport works on this machine".into()));
    }
    for transport in working.iter() {
        let output = run_over(setting, transport)?;
        let text = String::from_utf8_lossy(&output.stderr);
        // CONSOLE_WRITE and EXIT, and nothing over another transport.
        let counted = text.contains("calls: 2,") && text.contains(&format!(" {transport}: 2,"));
        if !output.status.success() || !counted {
            return Err(format!("{transport}: {}, {text}", output.status));
        }
    }
    Ok(Verdict::Pass)
}

fn refuse_transport(setting: &Setting, working: TransportSet) -> CaseResult {
    let broken: Vec<Transport> = Transport::ALL
        .into_iter()
        .filter(|transport| !working.contains(*transport))
        .collect();
    if broken.is_empty() {
        return Ok(Verdict::Skip(
            "every transport works on this machine".into(),
        ));
    }
    for transport in broken {
        let output = run_over(setting, transport)?;
        let text = String::from_utf8_lossy(&output.stderr);
        let refused = output.status.code() == Some(125) && output.stdout.is_empty();
        let reason = format!("transport '{transport}' does not work on this machine");
        if !refused || !text.contains(&reason) {
            return Err(format!("{transport}: {}, {text}", output.status));
        }
    }
    Ok(Verdict::Pass)
}
