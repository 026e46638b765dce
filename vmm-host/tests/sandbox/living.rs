// SPDX-License-Identifier: MIT OR Apache-2.0
//! What every confined thread must still be able to do.

use crate::child::{confined, status_of, ROLES};
use hcall_vmm::sandbox::{Sandbox, ThreadRole};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::catch_unwind;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use vmm_sys_util::eventfd::EventFd;

fn say(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[test]
fn memory_of_all_sizes_comes_and_goes() {
    for role in ROLES {
        confined(role, |_| {
            let blocks: Vec<Vec<u8>> = (0..27).map(|shift| vec![1; 1 << shift]).collect();
            let sum: usize = blocks.iter().map(Vec::len).sum();
            drop(blocks);
            (sum == (1 << 27) - 1).then_some(()).ok_or("lost".into())
        });
    }
}

#[test]
fn locks_clocks_and_sleep_work() {
    for role in ROLES {
        confined(role, |_| {
            let start = Instant::now();
            let (_sender, receiver) = mpsc::channel::<()>();
            let timed_out = receiver.recv_timeout(Duration::from_millis(2)).is_err();
            std::thread::sleep(Duration::from_millis(2));
            std::thread::yield_now();
            (timed_out && start.elapsed() >= Duration::from_millis(4))
                .then_some(())
                .ok_or("time stands still".into())
        });
    }
}

#[test]
fn what_is_open_can_be_read_and_written() {
    for role in ROLES {
        let (mut here, mut there) = UnixStream::pair().expect("a pair of sockets");
        let mut file = File::open("/proc/self/status").expect("a file");
        let event = EventFd::new(0).expect("an event");
        confined(role, move |_| {
            let timeout = Some(Duration::from_secs(1));
            here.set_read_timeout(timeout).map_err(say)?;
            there.write_all(b"x").map_err(say)?;
            here.read_exact(&mut [0]).map_err(say)?;
            file.read_to_string(&mut String::new()).map_err(say)?;
            event.write(1).map_err(say)?;
            event.read().map_err(say)?;
            here.try_clone().map(drop).map_err(say)
        });
    }
}

/// A handler that panics answers EIO; so it must come out of the panic, with its message
/// and as much of a backtrace as there is without files.
#[test]
fn a_panic_is_caught() {
    for role in ROLES {
        confined(role, |_| {
            std::panic::set_hook(Box::new(|_| {
                let _ = std::backtrace::Backtrace::force_capture().to_string();
            }));
            catch_unwind(|| panic!("on purpose"))
                .err()
                .map(drop)
                .ok_or("no panic".into())
        });
    }
}

/// A call that no list has fails, and the thread goes on.
#[test]
fn a_refused_call_does_not_kill() {
    confined(ThreadRole::Vcpu, |_| {
        let refused = File::open("/").err().ok_or("it opened")?;
        (refused.raw_os_error() == Some(libc::EPERM))
            .then_some(())
            .ok_or(format!("{refused}"))
    });
}

/// A stack that overflows ends the process by a signal, as without a sandbox.
#[test]
fn a_stack_overflow_ends_the_process() {
    let status = status_of(|| {
        let sandbox = Sandbox::new();
        sandbox.enclose().map_err(say)?;
        let thread = std::thread::spawn(move || {
            let _ = sandbox.confine_thread(ThreadRole::Vcpu);
            deeper(0)
        });
        thread.join().map(drop).map_err(|_| "it panicked".into())
    });
    assert!(libc::WIFSIGNALED(status), "status {status:#x}");
    assert_eq!(libc::WTERMSIG(status), libc::SIGABRT);
}

#[allow(unconditional_recursion)]
fn deeper(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 512]);
    deeper(depth + 1).wrapping_add(room[0])
}

/// Kicks, which get a thread out of a system call, are signals to a thread of the process.
#[test]
fn a_thread_can_signal_another_of_its_process_and_no_other_process() {
    confined(ThreadRole::Owner, |_| {
        let this = std::process::id() as libc::c_long;
        let kill = |process: libc::c_long, thread: libc::c_long| {
            // SAFETY: signal 0 is none.
            let result = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, 0) };
            (result == 0)
                .then_some(())
                .ok_or(std::io::Error::last_os_error())
        };
        // The first thread has the process's number.
        kill(this, this).map_err(say)?;
        kill(1, 1)
            .err()
            .map(drop)
            .ok_or("init was signalled".into())
    });
}

/// A warning about threads that are not confined must be about threads that there are.
#[test]
fn threads_that_have_ended_are_not_counted() {
    let status = status_of(|| {
        std::thread::spawn(|| {})
            .join()
            .map_err(|_| "it panicked")?;
        let enclosure = Sandbox::new().enclose().map_err(say)?;
        (enclosure.outside == 0)
            .then_some(())
            .ok_or(format!("{enclosure}"))
    });
    assert_eq!(status, 0);
}
