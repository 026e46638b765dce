// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a process without privileges can try that was given a file which may call `ECHO` and
//! `TSC_KHZ`, to get more than that.

use crate::compat;
use crate::confined;
use crate::failure::{equal, Check, Failure};
use crate::memory::{Pages, Place};
use hcall_guest::abi::batch::BatchEntry;
use hcall_guest::abi::convention::TrapInstruction;
use hcall_guest::abi::cpuid::CpuidRegisters;
use hcall_guest::abi::ioctl::{NumberRange, Restrict, DEVICE_PATH, RESTRICT};
use hcall_guest::abi::number::{ECHO, EXIT, FEATURES, GUEST_INFO, PROBE, RANDOM, TIME, TSC_KHZ};
use hcall_guest::abi::{CallError, HypercallNumber};
use hcall_guest::batch::{Batch, OnError};
use hcall_guest::device::{Device, DeviceError, Ring};
use hcall_guest::Errno as HostErrno;
use hcall_lab_contract::MIX;
use rustix::io::{fcntl_setfd, Errno, FdFlags};
use rustix::process::{getppid, pidfd_getfd, pidfd_open, PidfdFlags, PidfdGetfdFlags};
use std::arch::asm;
use std::fs::OpenOptions;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::Arc;

/// In the environment of a process that has inherited its file: the file's number.
pub(crate) const INHERITED: &str = "HCALL_CONFINED";

/// What is no way to get more.
pub(crate) const GIVING_UP: &str = "giving up";

/// Attempts where it is about a race.
const RACES: usize = 2000;

/// A way that may not work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    attempt: fn(&OwnedFd) -> Check,
}

const fn way(name: &'static str, attempt: fn(&OwnedFd) -> Check) -> Way {
    Way { name, attempt }
}

/// All of them.
pub(crate) const WAYS: [Way; 19] = [
    way("calling it", |_| Ok(())),
    way("RESTRICT to everything", |file| {
        refused(file, &[range(0, u32::MAX)])
    }),
    way("RESTRICT to one number more", |file| {
        refused(file, &[one(ECHO), one(TSC_KHZ), one(PROBE)])
    }),
    way("RESTRICT to a range across the gap", |file| {
        refused(file, &[range(ECHO.get(), TSC_KHZ.get())])
    }),
    way("RESTRICT to the number beside", |file| {
        refused(file, &[range(ECHO.get() - 1, ECHO.get()), one(TSC_KHZ)])
    }),
    way("RESTRICT of a duplicate", |file| {
        refused(&file.try_clone()?, &[one(PROBE)])
    }),
    way("RESTRICT of a 32-bit caller", compat_restrict),
    way(
        "RESTRICT by a structure that changes meanwhile",
        changing_restrict,
    ),
    way("RESTRICT in a child of fork", forked),
    way("exec", executed),
    way("sending the file through a socket again", sent),
    way("opening the device", |_| denied(DEVICE_PATH)),
    way("opening the file's name in /proc", |file| {
        denied(&format!("/proc/self/fd/{}", file.as_raw_fd()))
    }),
    way("opening the giver's file in /proc", |_| {
        denied(&format!("/proc/{}/fd/3", parent()?))
    }),
    way("taking a file of the giver's by pidfd_getfd", stolen),
    way("writing the module's parameter", |_| {
        let path = "/sys/module/hcall/parameters/allow";
        equal("written", std::fs::write(path, "all").is_ok(), false)
    }),
    way("a batch that hides it among others", hidden_in_batch),
    way("a ring", by_ring),
    way("the instruction itself", by_instruction),
];

fn one(number: HypercallNumber) -> NumberRange {
    range(number.get(), number.get())
}

fn range(first: u32, last: u32) -> NumberRange {
    NumberRange { first, last }
}

/// The file that a process was started with.
pub(crate) fn inherited(number: &str) -> Result<OwnedFd, Failure> {
    // SAFETY: the process that started this one left the file open under this number, and
    // nothing else of this process knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number.parse()?) })
}

/// Tries the way with this name, and sees what the file may call afterwards.
pub(crate) fn try_way(name: &str, file: OwnedFd) -> Check {
    if name == GIVING_UP {
        let device = device(&file)?;
        device.restrict(&[one(ECHO)])?;
        let refused = Err(DeviceError::Refused(TSC_KHZ));
        return equal("TSC_KHZ", device.tsc_khz(), refused);
    }
    let way = WAYS.iter().find(|way| way.name == name);
    let way = way.ok_or_else(|| Failure::new(format!("no way '{name}'")))?;
    exactly_what_is_allowed(&file)?;
    (way.attempt)(&file)?;
    exactly_what_is_allowed(&file)
}

fn device(file: &OwnedFd) -> Result<Device, Failure> {
    Ok(Device::from_fd(file.try_clone()?)?)
}

fn exactly_what_is_allowed(file: &OwnedFd) -> Check {
    let device = device(file)?;
    equal("ECHO", device.echo(7), Ok(7))?;
    equal("TSC_KHZ", device.tsc_khz().is_ok(), true)?;
    for number in [PROBE, FEATURES, EXIT, MIX[0], MIX[4]] {
        let refused = Err(DeviceError::Refused(number));
        equal(number, device.hcall0(number), refused)?;
    }
    let refused = Err(DeviceError::Refused(RANDOM));
    equal("RANDOM", device.random(&mut [0; 8]), refused)?;
    for (number, outcome) in [
        (GUEST_INFO, device.guest_info().map(drop)),
        (
            TIME,
            device
                .time(hcall_guest::abi::layout::Clock::Monotonic)
                .map(drop),
        ),
    ] {
        equal(number, outcome, Err(DeviceError::Refused(number)))?;
    }
    Ok(())
}

fn refused(file: &OwnedFd, ranges: &[NumberRange]) -> Check {
    let outcome = device(file)?.restrict(ranges);
    equal("RESTRICT", outcome, Err(DeviceError::Widening))
}

fn compat_restrict(file: &OwnedFd) -> Check {
    if compat::is_disabled()? {
        return Ok(());
    }
    let mut pages = Pages::new(1, Place::Low)?;
    let mut restrict = Restrict {
        count: 1,
        ..Restrict::default()
    };
    restrict.ranges[0] = range(0, u32::MAX);
    // SAFETY: the page is large and aligned enough for the structure.
    unsafe {
        pages
            .bytes()
            .as_mut_ptr()
            .cast::<Restrict>()
            .write(restrict)
    };
    let address = u32::try_from(pages.address(0))?;
    // SAFETY: the kernel only reads the structure, and takes 32-bit system calls.
    let status = unsafe { compat::ioctl(file, RESTRICT, address) };
    equal("RESTRICT", status, -libc::EPERM)
}

/// Another thread turns a range from what is allowed into what is not and back. What the
/// module checked it also keeps, so that the file is as it was or RESTRICT has failed.
fn changing_restrict(file: &OwnedFd) -> Check {
    let mut restrict = Restrict {
        count: 2,
        ..Restrict::default()
    };
    restrict.ranges[0] = one(ECHO);
    restrict.ranges[1] = one(TSC_KHZ);
    let last = &raw mut restrict.ranges[0].last;
    // SAFETY: aligned, and lives longer than the threads below; only the kernel reads it
    // otherwise meanwhile.
    let last = unsafe { AtomicU32::from_ptr(last) };
    let place = &raw mut restrict;
    let address = place.expose_provenance();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                last.store(TSC_KHZ.get(), Ordering::Relaxed);
                std::thread::yield_now();
                last.store(ECHO.get(), Ordering::Relaxed);
                std::thread::yield_now();
            }
        });
        let outcome = (0..RACES / 20).try_for_each(|_| {
            // SAFETY: the kernel only reads the structure.
            let status = unsafe { libc::ioctl(file.as_raw_fd(), RESTRICT.into(), address) };
            std::thread::yield_now();
            let errno = std::io::Error::last_os_error().raw_os_error();
            match (status, errno) {
                (0, _) | (_, Some(libc::EPERM)) => Ok(()),
                (_, other) => Err(Failure::new(format!("RESTRICT: {other:?}"))),
            }
        });
        done.store(true, Ordering::Relaxed);
        outcome
    })
}

fn forked(file: &OwnedFd) -> Check {
    // SAFETY: this process has one thread, so that the child may do what it likes.
    let child = match unsafe { libc::fork() } {
        -1 => return Err(std::io::Error::last_os_error().into()),
        0 => {
            let checked =
                refused(file, &[range(0, u32::MAX)]).and_then(|()| exactly_what_is_allowed(file));
            // SAFETY: ends the child, without what the parent has registered for its own end.
            unsafe { libc::_exit(checked.is_err().into()) }
        }
        child => child,
    };
    let mut status = 0;
    // SAFETY: `status` is ours to write.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    equal("waitpid", waited, child)?;
    equal("the child's status", status, 0)
}

/// The same program anew, which tries the first way.
fn executed(file: &OwnedFd) -> Check {
    let copy = file.try_clone()?;
    fcntl_setfd(&copy, FdFlags::empty())?;
    let status = Command::new("/proc/self/exe")
        .args([confined::ROLE, "RESTRICT to everything"])
        .env(INHERITED, copy.as_raw_fd().to_string())
        .status()?;
    equal("the child succeeded", status.success(), true)
}

fn sent(file: &OwnedFd) -> Check {
    let (here, there) = confined::pair()?;
    confined::send(&here, file.as_fd())?;
    let back = confined::receive(&there)?;
    refused(&back, &[range(0, u32::MAX)])?;
    exactly_what_is_allowed(&back)
}

fn denied(path: &str) -> Check {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    let errno = opened.err().and_then(|error| error.raw_os_error());
    equal(path, errno, Some(libc::EACCES))
}

fn parent() -> Result<rustix::process::Pid, Failure> {
    getppid().ok_or_else(|| Failure::new("no parent"))
}

fn stolen(_: &OwnedFd) -> Check {
    let giver = pidfd_open(parent()?, PidfdFlags::empty())?;
    let taken = pidfd_getfd(&giver, 3, PidfdGetfdFlags::empty());
    equal("pidfd_getfd", taken.map(drop), Err(Errno::PERM))
}

fn hidden_in_batch(file: &OwnedFd) -> Check {
    let device = device(file)?;
    for place in [0, 100, 255] {
        let mut memory = vec![BatchEntry::default(); 256];
        let mut batch = Batch::new(&mut memory);
        for index in 0..256 {
            batch.push(if index == place { PROBE } else { ECHO }, &[7])?;
        }
        let outcome = device.batch(&mut batch, OnError::Continue);
        equal("batch", outcome, Err(DeviceError::BatchRefused))?;
    }
    Ok(())
}

/// The host has been told at set-up what the file may call, and applies it to every entry.
fn by_ring(file: &OwnedFd) -> Check {
    let mut ring = Ring::over(Arc::new(device(file)?), 64)?;
    ring.submit(ECHO, &[7], 0)?;
    equal("ECHO", ring.wait()?.result, Ok(7))?;
    let refused = Err(CallError::Errno(HostErrno::EPERM));
    for number in [PROBE, FEATURES, MIX[0], RANDOM, EXIT] {
        ring.submit(number, &[7], 0)?;
        equal(number, ring.wait()?.result, refused)?;
    }
    // Nothing moves any more, in neither direction.
    let outcome = device(file)?.restrict(&[range(0, u32::MAX)]);
    equal("RESTRICT", outcome.is_err(), true)
}

/// At CPL 3 the host refuses it, or its KVM does.
fn by_instruction(_: &OwnedFd) -> Check {
    let answer = match TrapInstruction::for_vendor(cpuid().vendor()) {
        Some(TrapInstruction::Vmmcall) => probe_by_vmmcall(),
        Some(TrapInstruction::Vmcall) => probe_by_vmcall(),
        None => return Err(Failure::new("CPUID shows an unknown vendor")),
    };
    equal("PROBE", answer, -1)
}

macro_rules! probe_by {
    ($name:ident, $instruction:literal) => {
        fn $name() -> i64 {
            let answer: i64;
            // SAFETY: the instruction leaves rax changed and nothing else; rbx, which LLVM
            // reserves, is restored.
            unsafe {
                asm!(
                    "xchg {zero}, rbx",
                    $instruction,
                    "xchg {zero}, rbx",
                    zero = inout(reg) 0_u64 => _,
                    inlateout("rax") i64::from(PROBE.get()) => answer,
                    in("rcx") 0,
                    in("rdx") 0,
                    in("rsi") 0,
                    options(nostack),
                );
            }
            answer
        }
    };
}

probe_by!(probe_by_vmmcall, "vmmcall");
probe_by!(probe_by_vmcall, "vmcall");

fn cpuid() -> CpuidRegisters {
    // `__cpuid` is unsafe at the minimum Rust version and safe in later ones.
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 processor has CPUID, and it touches no memory.
    let registers = unsafe { std::arch::x86_64::__cpuid(0) };
    CpuidRegisters {
        eax: registers.eax,
        ebx: registers.ebx,
        ecx: registers.ecx,
        edx: registers.edx,
    }
}
