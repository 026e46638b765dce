// SPDX-License-Identifier: MIT OR Apache-2.0
//! Confinement is for good, and may be the whole process's: each test has a child for it.

use hcall_vmm::sandbox::{Enclosure, Sandbox, ThreadRole};
use std::thread;

const SUCCEEDED: i32 = 0;
const FAILED: i32 = 1;

/// All roles there are.
pub(crate) const ROLES: [ThreadRole; 7] = [
    ThreadRole::Vcpu,
    ThreadRole::Ring,
    ThreadRole::ConsoleInput,
    ThreadRole::Signals,
    ThreadRole::Control,
    ThreadRole::ExternalHandler,
    ThreadRole::Owner,
];

/// Runs `test` in a child; the child's status as `waitpid` gives it.
pub(crate) fn status_of(test: impl FnOnce() -> Result<(), String>) -> i32 {
    // SAFETY: the child has this thread only, and ends without running anything of its
    // parent's; memory can be allocated in it, as the C library sees to.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        let status = match test() {
            Ok(()) => SUCCEEDED,
            Err(error) => {
                say(&error);
                FAILED
            }
        };
        // SAFETY: it ends the child.
        unsafe { libc::_exit(status) };
    }
    let mut status = 0;
    // SAFETY: `status` is ours to be written.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child, "{}", std::io::Error::last_os_error());
    status
}

/// On standard error itself: what is captured of a test is its parent's.
fn say(text: &str) {
    let line = format!("{text}\n");
    // SAFETY: the bytes are there.
    unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
}

/// Has `test` succeed on a thread with this role, in an enclosed process.
#[track_caller]
pub(crate) fn confined(
    role: ThreadRole,
    test: impl FnOnce(&Enclosure) -> Result<(), String> + Send + 'static,
) {
    let status = status_of(move || {
        let sandbox = Sandbox::new();
        let enclosure = sandbox.enclose().map_err(|error| error.to_string())?;
        if !enclosure.filters_calls {
            return Err("this kernel has no seccomp".into());
        }
        let thread = thread::spawn(move || {
            let confined = sandbox.confine_thread(role);
            confined.map_err(|error| error.to_string())?;
            test(&enclosure)
        });
        thread.join().map_err(|_| "the thread panicked")?
    });
    assert_eq!(status, SUCCEEDED, "{role:?}: status {status:#x}");
}
