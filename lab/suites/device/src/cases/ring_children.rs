// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rings: the roles of the suite's children.

use crate::failure::{equal, Check, Failure};
use crate::raw::RawDevice;
use crate::raw_ring::{Mapping, ENTRIES};
use hcall_guest::abi::ring_protocol::RingWord;
use hcall_guest::device::{Device, Notify, Ring};
use hcall_lab_contract::{mix, ArgumentSequence, MIX};
use rustix::thread::{set_secure_computing_mode, SecureComputingMode};
use std::io::Write;
use std::os::fd::AsFd;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;

/// Entries of a ring for many calls: enough that even a host that sleeps whenever it has
/// nothing to do is woken rarely.
pub(super) const STEADY_ENTRIES: u32 = 512;

/// Calls until the end, which comes from outside; says when the first was answered.
pub(crate) fn flood() -> Check {
    let mut ring = Ring::open(ENTRIES)?;
    let mut said = false;
    loop {
        while ring.submit(MIX[4], &[1, 2, 3, 4], 0).is_ok() {}
        let answer = ring.wait()?;
        equal("MIX4", answer.result, Ok(mix(4, [1, 2, 3, 4])))?;
        if !said {
            println!("flooding");
            said = true;
        }
    }
}

/// One thread makes calls, and has forbidden itself every system call but read, write and
/// exit, at the pain of SIGKILL; another one wakes the host where the first says so.
pub(crate) fn steady(calls: u64) -> Check {
    let device = Arc::new(Device::open()?);
    let ring = Ring::over(Arc::clone(&device), STEADY_ENTRIES)?;
    let shared = Arc::new(Shared::default());
    let worker = Arc::clone(&shared);
    let thread = thread::Builder::new()
        .name("steady".into())
        .spawn(move || work(ring, calls, &worker))?;
    let mut kicks = 0;
    while !shared.done.load(Ordering::Acquire) {
        if shared.kick.swap(false, Ordering::AcqRel) {
            kicks += 1;
            device.kick_ring()?;
        }
        if thread.is_finished() || !is_alive(&shared)? {
            return Err(Failure::new(format!(
                "the thread was killed after {} calls: it made a system call",
                shared.calls.load(Ordering::Relaxed)
            )));
        }
        thread::yield_now();
    }
    let wrong = shared.wrong.load(Ordering::Relaxed);
    println!("{kicks} {wrong}");
    std::io::stdout().flush()?;
    // The thread cannot even end by itself.
    process::exit(0)
}

/// What the two threads share.
#[derive(Debug, Default)]
struct Shared {
    thread: AtomicU64,
    kick: AtomicBool,
    calls: AtomicU64,
    wrong: AtomicU64,
    done: AtomicBool,
}

fn work(mut ring: Ring, calls: u64, shared: &Shared) {
    let id = rustix::thread::gettid().as_raw_nonzero().get();
    shared
        .thread
        .store(id.unsigned_abs().into(), Ordering::Release);
    if set_secure_computing_mode(SecureComputingMode::Strict).is_err() {
        return;
    }
    let mut sequence = ArgumentSequence::new(4);
    let mut due = [0; STEADY_ENTRIES as usize];
    let (mut submitted, mut answered) = (0, 0);
    while answered < calls {
        while submitted < calls {
            let arguments = sequence.clone().next_arguments(4);
            if ring.submit(MIX[4], &arguments, submitted).is_err() {
                break;
            }
            sequence.next_arguments(4);
            due[submitted as usize % due.len()] = mix(4, arguments);
            submitted += 1;
        }
        if ring.publish() == Notify::Peer {
            shared.kick.store(true, Ordering::Release);
        }
        while let Some(answer) = ring.complete() {
            let right = answer.user_data == answered
                && answer.result == Ok(due[answered as usize % due.len()]);
            if !right {
                shared.wrong.fetch_add(1, Ordering::Relaxed);
            }
            answered += 1;
            shared.calls.store(answered, Ordering::Relaxed);
        }
        std::hint::spin_loop();
    }
    shared.done.store(true, Ordering::Release);
    loop {
        std::hint::spin_loop();
    }
}

/// Whether the thread is still there: what strict seccomp kills is one thread.
fn is_alive(shared: &Shared) -> Result<bool, Failure> {
    let id = shared.thread.load(Ordering::Acquire);
    if id == 0 {
        return Ok(true);
    }
    Ok(std::path::Path::new(&format!("/proc/self/task/{id}")).try_exists()?)
}

/// A child of `fork` has the file and not the memory.
pub(crate) fn fork() -> Check {
    let raw = RawDevice::open()?;
    let ring = raw.ring()?;
    let mapping = Mapping::of(&raw, &ring)?;
    mapping.store(RingWord::CompletionEvent, 5);
    let touching = in_child(|| {
        mapping.load(RingWord::CompletionEvent);
        0
    })?;
    equal(
        "touching the ring in the child",
        touching,
        Ended::Signal(libc::SIGSEGV),
    )?;
    let anew = in_child(|| match Mapping::of(raw.as_fd(), &ring) {
        Ok(anew) => anew.load(RingWord::CompletionEvent) as i32,
        Err(_) => 99,
    })?;
    equal("mapping it anew in the child", anew, Ended::Status(5))?;
    equal("the parent's", mapping.load(RingWord::CompletionEvent), 5)
}

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Status(i32),
    Signal(i32),
}

/// Forks; the child ends with what `body` returns.
fn in_child(body: impl FnOnce() -> i32) -> Result<Ended, Failure> {
    // SAFETY: this process has one thread, so that the child may do what it likes.
    let child = unsafe { libc::fork() };
    match child {
        -1 => Err(std::io::Error::last_os_error().into()),
        // SAFETY: ends the child, without what the parent has registered for its own end.
        0 => unsafe { libc::_exit(body()) },
        child => {
            let mut status = 0;
            // SAFETY: `status` is ours to write.
            let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
            equal("waitpid", waited, child)?;
            Ok(if libc::WIFSIGNALED(status) {
                Ended::Signal(libc::WTERMSIG(status))
            } else {
                Ended::Status(libc::WEXITSTATUS(status))
            })
        }
    }
}
