// SPDX-License-Identifier: MIT OR Apache-2.0
//! A hostile process: very many requests that are nearly right, from threads that change and
//! take away what the requests point to, in processes that fork, close and are killed in
//! flight. The kernel must live, and nothing forbidden may reach the host.
//!
//! The module is loaded with `allow=` everything but two numbers; the processes lack the
//! capability that ends the VM. A host that watches says at the end what it has seen; whoever
//! runs the VM must look as well.

mod arena;
mod privilege;
mod random;
mod requests;
mod round;
mod tally;

use crate::cases;
use crate::context::Context;
use crate::failure::{equal, passes, Check, Failure};
use crate::module::{ensure_absent, unload};
use crate::Kernel;
use hcall_guest::abi::ioctl::DEVICE_PATH;
use hcall_guest::abi::number::{EXIT, PROBE};
use hcall_guest::device::{Device, DeviceError};
use hcall_guest::{CallError, Errno};
use hcall_ktap::{CaseResult, Suite, Verdict};
use hcall_lab_contract::{FILL, FORBIDDEN, FORBIDDEN_SEEN};
use privilege::Identity;
use round::Plan;
use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use tally::Tally;

/// Requests of one process.
const ROUND: u64 = 5000;
/// Every so many processes are killed in flight.
const KILLED: u64 = 5;
/// Files of each process.
const FILES: usize = 6;
/// How long a process may take.
const LIMIT: Duration = Duration::from_secs(120);
/// What the host is asked to exit with, once, by who may.
const STATUS: u64 = 42;

/// How much, and which.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Requests in all.
    pub(crate) requests: u64,
    /// Of the choices.
    pub(crate) seed: u64,
}

/// The suite; the module is not loaded at its start and at its end.
pub(crate) fn suite(
    context: &Context,
    kernel: Kernel,
    scale: Scale,
    leak_calls: Option<u64>,
) -> Suite<'_> {
    let half = Scale {
        requests: scale.requests / 2,
        ..scale
    };
    let suite = Suite::new("device-hostile")
        .case(
            "what will be forbidden arrives from who may call it",
            || control(context),
        )
        .case("the module loads with ranges", move || {
            passes(context.module.load(&format!("allow={}", allowed())))
        })
        .case(
            format!("{} hostile requests of root", half.requests),
            move || passes(attack(half, Identity::Root)),
        )
        .case(
            format!("{} hostile requests of nobody", half.requests),
            move || {
                let seed = half.seed.wrapping_add(1);
                passes(attack(Scale { seed, ..half }, Identity::Nobody))
            },
        )
        .case("the host has seen nothing that is forbidden", seen);
    let suite = match (kernel, leak_calls) {
        (Kernel::Stock, Some(calls)) => cases::leaks::add(suite, calls),
        _ => suite,
    };
    let suite = suite.case("the device still works, and the module unloads", || {
        passes(still_works())
    });
    cases::kernel_is_well(suite, context, kernel)
}

/// Everything but what no process of this suite may call.
fn allowed() -> String {
    let (first, second) = (FILL.get(), FORBIDDEN.get());
    format!(
        "0xd-{:#x},{:#x}-{:#x},{:#x}-0x7fffffff",
        first - 1,
        first + 1,
        second - 1,
        second + 1
    )
}

/// Of a host that does not watch, the calls would end the VM.
fn control(context: &Context) -> CaseResult {
    let check = || -> Result<bool, Failure> {
        context.module.load("")?;
        let device = Device::open()?;
        let watches = device.hcall0(FORBIDDEN_SEEN).is_ok();
        if watches {
            equal("FORBIDDEN", device.hcall0(FORBIDDEN), Ok(0))?;
            equal("EXIT", device.hcall1(EXIT, STATUS), Ok(0))?;
            equal("seen", device.hcall0(FORBIDDEN_SEEN), Ok(2))?;
        }
        drop(device);
        unload()?;
        Ok(watches)
    };
    match check() {
        Ok(true) => Ok(Verdict::Pass),
        Ok(false) => Ok(Verdict::Skip("this host does not watch".to_owned())),
        Err(failure) => Err(failure.to_string()),
    }
}

/// Processes, one after the other, until so many requests have been made.
fn attack(scale: Scale, identity: Identity) -> Check {
    println!("# seed {:#x}", scale.seed);
    let tally = Tally::new()?;
    let start = Instant::now();
    let mut round = 0;
    while tally.total() < scale.requests {
        let plan = Plan {
            seed: scale.seed,
            round,
            requests: ROUND.min(scale.requests),
            identity,
        };
        run(plan, &tally).map_err(|failure| {
            Failure::new(format!(
                "process {round} of seed {:#x}: {failure}",
                scale.seed
            ))
        })?;
        round += 1;
    }
    println!(
        "# {} requests of {round} processes in {:.1} s: {}",
        tally.total(),
        start.elapsed().as_secs_f64(),
        tally.describe()
    );
    // A mix in which some outcome is missing has not tried what leads to it.
    for (errno, name) in [
        (0, "made"),
        (libc::EPERM, "EPERM"),
        (libc::EFAULT, "EFAULT"),
        (libc::EINVAL, "EINVAL"),
        (libc::ENOTTY, "ENOTTY"),
    ] {
        equal(format_args!("some are {name}"), tally.of(errno) > 0, true)?;
    }
    Ok(())
}

/// One process, to its end; every few are killed half-way.
fn run(plan: Plan, tally: &Tally) -> Check {
    let files = (0..FILES).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
    let before = tally.total();
    // SAFETY: this process has one thread, so that the child may do what it likes.
    let child = match unsafe { libc::fork() } {
        -1 => return Err(std::io::Error::last_os_error().into()),
        0 => {
            let status = match round::live(plan, files, tally) {
                Ok(()) => 0,
                Err(failure) => {
                    println!("# {failure}");
                    1
                }
            };
            // SAFETY: ends the child, without what the parent has registered for its own end.
            unsafe { libc::_exit(status) }
        }
        child => child,
    };
    drop(files);
    let start = Instant::now();
    let mut due = 0;
    loop {
        let mut status = 0;
        // SAFETY: `status` is ours to write.
        match unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } {
            0 => {}
            _ if status == due || status == 0 => return Ok(()),
            _ => return Err(Failure::new(format!("ended with wait status {status:#x}"))),
        }
        let is_half = tally.total() - before >= plan.requests / 2;
        let is_late = start.elapsed() > LIMIT;
        if (is_half && plan.round % KILLED == KILLED - 1) || is_late {
            due = libc::SIGKILL;
            // SAFETY: the child has not been waited for, so that the number is its own.
            unsafe { libc::kill(child, libc::SIGKILL) };
        }
        if is_late {
            return Err(Failure::new(format!("not over after {LIMIT:?}")));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn open() -> std::io::Result<OwnedFd> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(DEVICE_PATH)?;
    Ok(file.into())
}

fn seen() -> CaseResult {
    let unknown = DeviceError::Call(CallError::Errno(Errno::ENOSYS));
    let look = || -> Result<_, Failure> { Ok(Device::open()?.hcall0(FORBIDDEN_SEEN)) };
    match look() {
        Ok(Err(error)) if error == unknown => {
            Ok(Verdict::Skip("this host does not watch".to_owned()))
        }
        Ok(seen) => passes(equal("seen, the control's two included", seen, Ok(2))),
        Err(failure) => Err(failure.to_string()),
    }
}

fn still_works() -> Check {
    let device = Device::open()?;
    device.probe()?;
    let refused = device.hcall0(FORBIDDEN);
    equal("FORBIDDEN", refused, Err(DeviceError::Refused(FORBIDDEN)))?;
    equal("PROBE", device.hcall0(PROBE).is_ok(), true)?;
    drop(device);
    unload()?;
    ensure_absent()
}
