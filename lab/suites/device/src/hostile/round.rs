// SPDX-License-Identifier: MIT OR Apache-2.0
//! One process of many: threads that make requests, one that changes what they point to while
//! it is read, one that takes the memory away, and signals all the time.

use super::arena::{Arena, PAGES};
use super::privilege::{self, Identity};
use super::random::Random;
use super::requests::{invent, Request};
use super::tally::Tally;
use crate::failure::Failure;
use crate::memory::PAGE;
use hcall_guest::abi::ioctl::DEVICE_PATH;
use std::ffi::CString;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

/// Threads that make requests.
const CALLERS: u64 = 3;
/// Requests between two times that a caller does something else.
const UNDISTURBED: usize = 40;
/// How often memory is taken away.
const DISTURBANCES: Duration = Duration::from_millis(15);
/// How often the sleeping are woken by a signal.
const SIGNALS: Duration = Duration::from_millis(20);
/// What a ring of 64 entries has at least.
const RING_BYTES: usize = 2 * PAGE;

/// What a round is to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) round: u64,
    pub(super) requests: u64,
    pub(super) identity: Identity,
}

/// What the threads of a round share.
struct Round<'a> {
    plan: Plan,
    files: Vec<AtomicI32>,
    arena: Arena,
    tally: &'a Tally,
    over: AtomicBool,
}

/// The life of the process, from its fork to its end.
pub(super) fn live(plan: Plan, files: Vec<OwnedFd>, tally: &Tally) -> Result<(), Failure> {
    privilege::drop_to(plan.identity)?;
    ignore_signals()?;
    let files: Vec<i32> = files.into_iter().map(IntoRawFd::into_raw_fd).collect();
    let round = Round {
        plan,
        files: files.into_iter().map(AtomicI32::new).collect(),
        arena: Arena::new()?,
        tally,
        over: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        scope.spawn(|| round.change());
        scope.spawn(|| round.disturb());
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                scope.spawn({
                    let round = &round;
                    move || round.call(caller)
                })
            })
            .collect();
        while callers.iter().any(|caller| !caller.is_finished()) {
            thread::sleep(SIGNALS);
            signal_everybody();
        }
        round.over.store(true, Ordering::Relaxed);
    });
    reap();
    Ok(())
}

impl Round<'_> {
    fn random(&self, purpose: u64) -> Random {
        Random::new(self.plan.seed, self.plan.round * 16 + purpose)
    }

    /// Makes requests.
    fn call(&self, caller: u64) {
        let mut random = self.random(caller);
        for count in 0..self.plan.requests / CALLERS {
            let request = invent(&mut random, &self.arena);
            let file = self.files[random.below(self.files.len())].load(Ordering::Relaxed);
            self.tally.count(make(file, request));
            if count % UNDISTURBED as u64 == 0 {
                self.do_something_else(&mut random);
            }
        }
    }

    fn do_something_else(&self, random: &mut Random) {
        let place = &self.files[random.below(self.files.len())];
        match random.below(16) {
            // Another file, or a second descriptor of one; the old one goes, in whatever
            // request it is.
            0..4 => {
                let new = match self.plan.identity {
                    Identity::Root if random.below(2) == 0 => open(),
                    _ => duplicate(
                        self.files[random.below(self.files.len())].load(Ordering::Relaxed),
                    ),
                };
                if new >= 0 {
                    close(place.swap(new, Ordering::Relaxed));
                }
            }
            4..6 => scribble(place.load(Ordering::Relaxed), random),
            6 if random.below(8) == 0 => self.fork(random),
            7..9 => {
                // Whatever was done to it, it is whole again for a while.
                let _ = self.arena.restore_all();
            }
            _ => thread::yield_now(),
        }
    }

    /// Changes what requests point to.
    fn change(&self) {
        let mut random = self.random(14);
        let words = self.arena.words();
        while !self.over.load(Ordering::Relaxed) {
            for _ in 0..64 {
                // Near where something was written lately, most probably: words that are not 0.
                let word = &words[random.below(words.len())];
                let now = word.load(Ordering::Relaxed);
                let bit = 1 << random.below(64);
                word.store(if now == 0 { 0 } else { now ^ bit }, Ordering::Relaxed);
            }
            thread::yield_now();
        }
    }

    /// Takes memory away, and gives it back. Not all the time: after each the processors wait
    /// for each other, and nobody would get on.
    fn disturb(&self) {
        let mut random = self.random(15);
        for done in 1_usize.. {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            self.arena.disturb(&mut random);
            if done % PAGES == 0 {
                let _ = self.arena.restore_all();
            }
            thread::sleep(DISTURBANCES);
        }
    }

    /// A child that makes a few requests on the inherited files; nobody waits for it before
    /// the end.
    fn fork(&self, random: &mut Random) {
        // SAFETY: the child makes system calls only, on what this function has prepared, and
        // ends without what Rust or libc do at an end.
        if unsafe { libc::fork() } == 0 {
            for place in &self.files {
                let request = Request {
                    command: random.next() as u32,
                    argument: self.arena.address(0),
                };
                make(place.load(Ordering::Relaxed), request);
            }
            // SAFETY: as above.
            unsafe { libc::_exit(0) };
        }
    }
}

/// Makes a request; its errno, 0 if there is none.
fn make(file: i32, request: Request) -> i32 {
    // SAFETY: what the kernel may write at the address is the arena's or no memory at all, but
    // for an accident of 1 in 2^40.
    let status = unsafe { libc::ioctl(file, request.command as _, request.argument) };
    if status < 0 {
        return std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    }
    0
}

/// Maps the ring of a file, if it has one, and writes noise into it.
fn scribble(file: i32, random: &mut Random) {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            RING_BYTES,
            access,
            libc::MAP_SHARED,
            file,
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return;
    }
    for _ in 0..64 {
        let offset = random.below(RING_BYTES / 4) * 4;
        let word = random.one_of(&[0, 1, 2, 64, 65, random.clone().next() as u32]);
        // SAFETY: within the mapping and aligned; it is shared with the host only.
        unsafe { AtomicI32::from_ptr(start.byte_add(offset).cast()) }
            .store(word as i32, Ordering::Relaxed);
    }
    // SAFETY: nothing refers to the mapping any more.
    unsafe { libc::munmap(start, RING_BYTES) };
}

fn open() -> i32 {
    let Ok(path) = CString::new(DEVICE_PATH) else {
        return -1;
    };
    // SAFETY: a path that ends with a null byte.
    unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) }
}

fn duplicate(file: i32) -> i32 {
    // SAFETY: the kernel checks the number.
    unsafe { libc::fcntl(file, libc::F_DUPFD_CLOEXEC, 3) }
}

fn close(file: i32) {
    // SAFETY: the number is one of this process's files for the device, which nothing owns.
    unsafe { libc::close(file) };
}

extern "C" fn nothing(_: libc::c_int) {}

/// A handler that does nothing, but ends what can be interrupted.
fn ignore_signals() -> Result<(), Failure> {
    // SAFETY: all zero is a value of the structure; the handler may run at any time.
    let status = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
        libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut())
    };
    if status != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(())
}

/// A signal for each thread of this process.
fn signal_everybody() {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return;
    };
    for thread in threads.flatten() {
        if let Some(id) = thread.file_name().to_str().and_then(|id| id.parse().ok()) {
            let id: libc::c_int = id;
            // SAFETY: the signal has a handler that does nothing.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), id, libc::SIGUSR1) };
        }
    }
}

/// Waits for the children.
fn reap() {
    // SAFETY: no status is asked for.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) } > 0 {}
}
