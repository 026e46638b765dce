// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall-vmm` where the machine around it fails: its output, its input, its files, its
//! limits, its clock. The table in `docs/security.md` names what each case shows.

use crate::limits::{limit, Resource};
use hcall_abi::TransportSet;
use hcall_ktap::{CaseResult, Suite, Verdict};
use rustix::process::{kill_process, Pid, Signal};
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Status of the guest `ends` with the command line "exit".
const STATUS_EXIT: i32 = 42;
/// Status where there was no VM to run.
const STATUS_VMM: i32 = 125;
/// Status after SIGTERM.
const STATUS_TERMINATED: i32 = 128 + 15;
/// The VMM gives its VM two seconds to end; emulated machines are slow besides.
const END_LIMIT: Duration = Duration::from_secs(6);
/// Long enough for a guest that talks to fill a pipe.
const FILLING: Duration = Duration::from_secs(1);
const MEBIBYTE: u64 = 1 << 20;

/// What the cases run.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) vmm: PathBuf,
    pub(crate) compromised: PathBuf,
    pub(crate) guests: PathBuf,
}

/// Whether the machine's clock may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    MayBeSet,
    IsInUse,
}

/// What is done to the programs, by its name.
type Fault = (&'static str, fn(&Programs) -> CaseResult);

pub(crate) fn add_cases(
    mut suite: Suite<'_>,
    programs: Programs,
    clock: Clock,
    working: TransportSet,
) -> Suite<'_> {
    let cases: [Fault; 13] = [
        ("the console's disk is full", full_console),
        ("there is no standard output or input", closed_console),
        ("the console's reader has gone", broken_console),
        ("the console's reader does not read", blocked_console),
        (
            "input without end for a guest that reads none",
            endless_input,
        ),
        ("SIGSTOP and SIGCONT", stopped_and_continued),
        ("SIGKILL", killed),
        (
            "the image is changed and deleted while the guest runs",
            vanishing_image,
        ),
        ("more memory than the machine has", too_much_memory),
        (
            "less address space than the guest's memory",
            little_address_space,
        ),
        ("few descriptors", few_descriptors),
        ("no descriptor left for a ring", no_descriptor_for_a_ring),
        ("a handler that never returns", hanging_handler),
    ];
    let wanted = !working.is_empty();
    for (name, case) in cases {
        let programs = programs.clone();
        suite = suite.case(format!("fault: {name}"), move || {
            if wanted {
                case(&programs)
            } else {
                Ok(Verdict::Skip(
                    "no transport works on this machine's KVM".into(),
                ))
            }
        });
    }
    suite.case("fault: the clock is set back", move || match clock {
        Clock::MayBeSet if wanted => clock_steps(&programs),
        Clock::MayBeSet => Ok(Verdict::Skip(
            "no transport works on this machine's KVM".into(),
        )),
        Clock::IsInUse => Ok(Verdict::Skip("this machine's clock is in use".into())),
    })
}

impl Programs {
    fn guest(&self, name: &str, command_line: &str) -> Command {
        self.image(&self.vmm, &self.guests.join(name), command_line)
    }

    fn image(&self, vmm: &Path, image: &Path, command_line: &str) -> Command {
        let mut command = Command::new(vmm);
        command
            .arg("run")
            .arg(image)
            .args(["--append", command_line])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

fn say(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn expect_status(output: &Output, status: i32) -> CaseResult {
    if output.status.code() == Some(status) {
        return Ok(Verdict::Pass);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}, expected {status}: {said}", output.status))
}

/// A guest that talks, or another that runs until it is stopped.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Result<Self, String> {
        command.spawn().map(Self).map_err(say)
    }

    /// Waits until the guest has said something.
    fn wait_for_output(&mut self) -> Result<(), String> {
        let output = self.0.stdout.as_mut().ok_or("no standard output")?;
        output.read_exact(&mut [0]).map_err(say)
    }

    fn send(&self, signal: Signal) -> Result<(), String> {
        let process = Pid::from_child(&self.0);
        kill_process(process, signal).map_err(say)
    }

    fn is_running(&mut self) -> Result<(), String> {
        match self.0.try_wait().map_err(say)? {
            None => Ok(()),
            Some(status) => Err(format!("it has ended: {status}")),
        }
    }

    fn wait(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(status) = self.0.try_wait().map_err(say)? {
                return Ok(status);
            }
            sleep(Duration::from_millis(10));
        }
        Err(format!("still running after {limit:?}"))
    }

    fn terminate(mut self) -> CaseResult {
        self.is_running()?;
        self.send(Signal::TERM)?;
        let status = self.wait(END_LIMIT)?;
        if status.code() == Some(STATUS_TERMINATED) {
            return Ok(Verdict::Pass);
        }
        Err(format!("{status}, expected {STATUS_TERMINATED}"))
    }
}

impl Drop for Running {
    /// Whatever happened, the guest must not outlive the case.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn full_console(programs: &Programs) -> CaseResult {
    let full = OpenOptions::new().write(true).open("/dev/full");
    let output = programs
        .guest("ends", "exit")
        .stdout(full.map_err(say)?)
        .output()
        .map_err(say)?;
    expect_status(&output, STATUS_EXIT)
}

fn closed_console(programs: &Programs) -> CaseResult {
    let mut command = programs.guest("ends", "exit");
    crate::limits::without_standard_descriptors(&mut command);
    let output = command.output().map_err(say)?;
    expect_status(&output, STATUS_EXIT)
}

fn broken_console(programs: &Programs) -> CaseResult {
    let mut running = Running::start(programs.guest("ends", "talk"))?;
    running.wait_for_output()?;
    drop(running.0.stdout.take());
    sleep(FILLING);
    running.terminate()
}

fn blocked_console(programs: &Programs) -> CaseResult {
    let mut running = Running::start(programs.guest("ends", "talk"))?;
    running.wait_for_output()?;
    sleep(FILLING);
    running.terminate()
}

fn endless_input(programs: &Programs) -> CaseResult {
    let zeros = File::open("/dev/zero").map_err(say)?;
    let output = programs
        .guest("ends", "exit")
        .stdin(zeros)
        .output()
        .map_err(say)?;
    expect_status(&output, STATUS_EXIT)
}

fn stopped_and_continued(programs: &Programs) -> CaseResult {
    let mut running = Running::start(programs.guest("ends", "talk"))?;
    running.wait_for_output()?;
    running.send(Signal::STOP)?;
    sleep(Duration::from_millis(300));
    running.send(Signal::CONT)?;
    // More than a pipe holds, so that it was said afterwards.
    let output = running.0.stdout.as_mut().ok_or("no standard output")?;
    let mut said = vec![0; 1 << 18];
    output.read_exact(&mut said).map_err(say)?;
    running.terminate()
}

fn killed(programs: &Programs) -> CaseResult {
    let mut running = Running::start(programs.guest("ends", "talk"))?;
    running.wait_for_output()?;
    running.send(Signal::KILL)?;
    let status = running.wait(END_LIMIT)?;
    if status.signal() != Some(Signal::KILL.as_raw()) {
        return Err(format!("{status}"));
    }
    // Nothing of it is in the way of the next.
    let output = programs.guest("ends", "exit").output().map_err(say)?;
    expect_status(&output, STATUS_EXIT)
}

fn vanishing_image(programs: &Programs) -> CaseResult {
    let copy = std::env::temp_dir().join(format!("hcall-faults-{}", std::process::id()));
    fs::create_dir_all(std::env::temp_dir()).map_err(say)?;
    fs::copy(programs.guests.join("ends"), &copy).map_err(say)?;
    let outcome = (|| {
        let mut running = Running::start(programs.image(&programs.vmm, &copy, "talk"))?;
        running.wait_for_output()?;
        fs::write(&copy, "something else").map_err(say)?;
        fs::remove_file(&copy).map_err(say)?;
        let output = running.0.stdout.as_mut().ok_or("no standard output")?;
        output.read_exact(&mut vec![0; 1 << 18]).map_err(say)?;
        running.terminate()
    })();
    // It is gone already, unless something failed before.
    let _ = fs::remove_file(&copy);
    outcome
}

fn too_much_memory(programs: &Programs) -> CaseResult {
    let mut command = programs.guest("ends", "exit");
    let output = command.args(["--memory", "1T"]).output().map_err(say)?;
    let said = String::from_utf8_lossy(&output.stderr);
    // A guest is given pages as it touches them, where the kernel promises so many.
    if output.status.code() == Some(STATUS_VMM) && said.contains("give the guest less") {
        return Ok(Verdict::Pass);
    }
    expect_status(&output, STATUS_EXIT)
}

fn little_address_space(programs: &Programs) -> CaseResult {
    let mut command = programs.guest("ends", "exit");
    limit(&mut command, Resource::AddressSpace, 200 * MEBIBYTE);
    let output = command.output().map_err(say)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !said.contains("give the guest less") {
        return Err(format!("{}: {said}", output.status));
    }
    expect_status(&output, STATUS_VMM)?;
    let mut command = programs.guest("ends", "exit");
    limit(&mut command, Resource::AddressSpace, 2048 * MEBIBYTE);
    expect_status(&command.output().map_err(say)?, STATUS_EXIT)
}

/// Each number of descriptors is enough, or leads to an error; both occur.
fn few_descriptors(programs: &Programs) -> CaseResult {
    let (mut refused, mut ran) = (0, 0);
    for count in 4..20 {
        let mut command = programs.guest("ends", "exit");
        limit(&mut command, Resource::Descriptors, count);
        let output = command.output().map_err(say)?;
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(STATUS_EXIT) => ran += 1,
            Some(STATUS_VMM) if said.starts_with("error: ") => refused += 1,
            _ => return Err(format!("{count} descriptors: {}, {said}", output.status)),
        }
    }
    if refused == 0 || ran == 0 {
        return Err(format!("{refused} refused, {ran} ran"));
    }
    Ok(Verdict::Pass)
}

/// Among so few descriptors that there is a VM, and so many that it has a ring, there is a
/// number with which the ring is refused.
fn no_descriptor_for_a_ring(programs: &Programs) -> CaseResult {
    let image = programs.guests.join("attempts");
    let (mut refused, mut ran) = (0, 0);
    for count in 6..24 {
        let mut command = programs.image(&programs.compromised, &image, "0");
        limit(&mut command, Resource::Descriptors, count);
        let output = command.output().map_err(say)?;
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => ran += 1,
            Some(STATUS_VMM) => {}
            Some(126) if said.contains("Errno(ENOMEM)") => refused += 1,
            _ => return Err(format!("{count} descriptors: {}, {said}", output.status)),
        }
    }
    if refused == 0 || ran == 0 {
        return Err(format!(
            "the ring was refused {refused} times, and served {ran} times"
        ));
    }
    Ok(Verdict::Pass)
}

fn hanging_handler(programs: &Programs) -> CaseResult {
    let image = programs.guests.join("attempts");
    let mut command = programs.image(&programs.compromised, &image, "hang");
    command.stdout(Stdio::null());
    let mut running = Running::start(command)?;
    let said = running.0.stderr.as_mut().ok_or("no standard error")?;
    // It says so before it hangs.
    said.read_exact(&mut [0]).map_err(say)?;
    running.terminate()
}

fn clock_steps(programs: &Programs) -> CaseResult {
    use rustix::time::{clock_gettime, clock_settime, ClockId, Timespec};
    let step = |seconds| {
        let now = clock_gettime(ClockId::Realtime);
        let then = Timespec {
            tv_sec: now.tv_sec + seconds,
            ..now
        };
        clock_settime(ClockId::Realtime, then).map_err(say)
    };
    let mut running = Running::start(programs.guest("ends", "talk"))?;
    running.wait_for_output()?;
    step(-3600)?;
    let outcome = running.terminate();
    step(3600)?;
    outcome
}
