// SPDX-License-Identifier: MIT OR Apache-2.0
//! Getting a vCPU's thread out of KVM_RUN, by a signal with a handler that does nothing, and
//! out of its sleep where it has parked itself.

use std::os::raw::{c_int, c_void};
use std::sync::OnceLock;
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;
use vmm_sys_util::errno;
use vmm_sys_util::signal::{register_signal_handler, Killable, SIGRTMIN};

/// How long to wait between two signals: one that arrives just before KVM_RUN is lost. At
/// first little, since a thread mostly ends at once; each time twice as long, to the most.
pub(crate) const FIRST_INTERVAL: Duration = Duration::from_micros(20);
const LONGEST_INTERVAL: Duration = Duration::from_millis(5);

extern "C" fn ignore(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {}

/// Makes [`until_finished`] possible in this process.
///
/// # Errors
///
/// That of `sigaction`.
pub(crate) fn install() -> Result<(), errno::Error> {
    static INSTALLED: OnceLock<Result<(), errno::Error>> = OnceLock::new();
    *INSTALLED.get_or_init(|| register_signal_handler(SIGRTMIN(), ignore))
}

/// Interrupts the system calls and the sleep of `thread` until it has finished; it must look
/// for a reason to do so whenever KVM_RUN returns EINTR and whenever it wakes.
pub(crate) fn until_finished<T>(thread: &JoinHandle<T>) {
    let mut interval = FIRST_INTERVAL;
    while !thread.is_finished() {
        // A thread that has just finished cannot be signalled, and need not be.
        let _ = thread.kill(SIGRTMIN());
        thread.thread().unpark();
        std::thread::sleep(interval);
        interval = next_interval(interval);
    }
}

/// How long to wait after the next signal, when that was waited after the last.
pub(crate) fn next_interval(interval: Duration) -> Duration {
    (2 * interval).min(LONGEST_INTERVAL)
}

/// A thread that can be interrupted by whoever does not have its handle.
#[derive(Debug)]
pub(crate) struct Target {
    id: libc::pid_t,
    thread: Thread,
}

impl Target {
    /// The calling thread.
    pub(crate) fn current() -> Self {
        Self {
            // SAFETY: it has no precondition.
            id: unsafe { libc::gettid() },
            thread: thread::current(),
        }
    }

    /// Interrupts its system call or its sleep; as with [`until_finished`], one that comes
    /// just before either is lost.
    pub(crate) fn kick(&self) {
        // SAFETY: integers only. Should the thread have ended, there is none with this number
        // in this process, or another one whose handler of this signal does nothing either.
        unsafe {
            libc::syscall(libc::SYS_tgkill, libc::getpid(), self.id, SIGRTMIN());
        }
        self.thread.unpark();
    }
}
