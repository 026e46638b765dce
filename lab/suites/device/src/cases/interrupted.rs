// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signals while the host takes its time: those with a handler wait for the call's end or end
//! a sleep, and one that kills leaves nothing behind.

use crate::failure::{equal, passes, Check, Failure};
use crate::module::references;
use crate::raw::{refused, RawDevice};
use hcall_guest::abi::batch::BatchEntry;
use hcall_guest::abi::ioctl::{Batch, Call, CallBuffer, BATCH, BUFFER_IN, BUFFER_MAX};
use hcall_guest::device::Device;
use hcall_ktap::Suite;
use hcall_lab_contract::SLOW;
use rustix::io::Errno;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long the host takes, and when in that time the signal comes.
const SLOW_MILLISECONDS: u64 = 60;
const SIGNAL: Duration = Duration::from_millis(15);
/// How long a process may take to be gone.
const LIMIT: Duration = Duration::from_secs(10);
/// Threads of a process that is killed.
const THREADS: usize = 3;

/// A request by name.
type Request = (&'static str, fn() -> Check);

/// Requests that take time: each for itself, in a process that is killed meanwhile.
const REQUESTS: [Request; 5] = [
    ("CALL", slow_call),
    ("CALL_BUFFER", slow_buffer),
    ("BATCH", slow_batch),
    ("RING_WAIT", ring_wait),
    ("calls of three threads", slow_threads),
];

pub(super) fn add(mut suite: Suite<'_>) -> Suite<'_> {
    for (name, request) in REQUESTS {
        suite = suite.case(
            format!("kill -9 during {name}: the process ends, nothing is left"),
            move || passes(killed(request)),
        );
    }
    suite
        .case("a signal during a slow call is handled after it", || {
            passes(handled_after())
        })
        .case("a signal ends a RING_WAIT: EINTR", || passes(ends_wait()))
}

fn slow_call() -> Check {
    let mut call = Call {
        number: SLOW.get(),
        arguments: [SLOW_MILLISECONDS, 0, 0, 0],
        result: 1,
        ..Call::default()
    };
    RawDevice::open()?.call(&mut call)?;
    equal("SLOW", call.result, 0)
}

fn slow_buffer() -> Check {
    let mut call = CallBuffer {
        number: SLOW.get(),
        flags: BUFFER_IN,
        arguments: [SLOW_MILLISECONDS, 0, 0, 0],
        gpa_index: 1,
        ..CallBuffer::default()
    };
    let mut bytes = vec![0x5a; BUFFER_MAX as usize];
    RawDevice::open()?.call_buffer(&mut call, &mut bytes)?;
    Ok(())
}

fn slow_batch() -> Check {
    let mut entries = [BatchEntry::new(SLOW, [SLOW_MILLISECONDS / 4, 0, 0, 0]); 4];
    let mut batch = Batch {
        entries: entries.as_mut_ptr().expose_provenance() as u64,
        count: entries.len() as u32,
        ..Batch::default()
    };
    // SAFETY: structure and entries are ours.
    unsafe { RawDevice::open()?.request(BATCH, (&raw mut batch).expose_provenance())? };
    Ok(())
}

fn ring_wait() -> Check {
    let raw = RawDevice::open()?;
    raw.ring()?;
    raw.ring_wait(0, u64::MAX)?;
    Ok(())
}

fn slow_threads() -> Check {
    std::thread::scope(|scope| {
        let threads = [(); THREADS].map(|()| scope.spawn(slow_call));
        for thread in threads {
            thread
                .join()
                .map_err(|_| Failure::new("a thread panicked"))??;
        }
        Ok(())
    })
}

/// A timer kills the process while the request is under way.
fn killed(request: fn() -> Check) -> Check {
    let before = references()?;
    // SAFETY: this process has one thread, so that the child may do what it likes.
    let child = match unsafe { libc::fork() } {
        -1 => return Err(std::io::Error::last_os_error().into()),
        0 => {
            let armed = arm(libc::SIGKILL);
            let made = armed.and_then(|()| request());
            if let Err(failure) = made {
                println!("# {failure}");
            }
            // The kill comes at the end of the request, or the test fails.
            // SAFETY: ends the child, without what the parent has registered for its own end.
            unsafe { libc::_exit(0) }
        }
        child => child,
    };
    let start = Instant::now();
    let mut status = 0;
    // SAFETY: `status` is ours to write.
    while unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == 0 {
        if start.elapsed() > LIMIT {
            return Err(Failure::new(format!(
                "the process is there after {LIMIT:?}"
            )));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    equal("the end's signal", libc::WTERMSIG(status), libc::SIGKILL)?;
    equal("references to the module", references()?, before)?;
    equal("the device works", Device::open()?.echo(5), Ok(5))
}

/// Has the kernel send this signal once, after [`SIGNAL`].
fn arm(signal: libc::c_int) -> Check {
    // SAFETY: all zero is a value of both structures; the timer's place is ours.
    let status = unsafe {
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = signal;
        let mut timer: libc::timer_t = std::mem::zeroed();
        let created = libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer);
        let mut after: libc::itimerspec = std::mem::zeroed();
        after.it_value.tv_nsec = SIGNAL.as_nanos() as libc::c_long;
        match created {
            0 => libc::timer_settime(timer, 0, &raw const after, std::ptr::null_mut()),
            failed => failed,
        }
    };
    match status {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().into()),
    }
}

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// A handler that counts, and a signal for it; how many signals it has counted before.
fn arm_handled() -> Result<u32, Failure> {
    // SAFETY: all zero is a value of the structure; the handler may run at any time.
    let status = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count as extern "C" fn(libc::c_int) as libc::sighandler_t;
        libc::sigaction(libc::SIGUSR2, &raw const action, std::ptr::null_mut())
    };
    if status != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    let before = HANDLED.load(Ordering::Relaxed);
    arm(libc::SIGUSR2)?;
    Ok(before)
}

fn handled_after() -> Check {
    let before = arm_handled()?;
    slow_call()?;
    equal("signals", HANDLED.load(Ordering::Relaxed) - before, 1)
}

fn ends_wait() -> Check {
    let raw = RawDevice::open()?;
    raw.ring()?;
    let before = arm_handled()?;
    equal(
        "RING_WAIT",
        raw.ring_wait(0, u64::MAX),
        refused(Errno::INTR),
    )?;
    equal("signals", HANDLED.load(Ordering::Relaxed) - before, 1)
}
