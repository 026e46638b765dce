// SPDX-License-Identifier: MIT OR Apache-2.0
//! What no confined thread gets.

use crate::attempts::{is_refusal, Attempt, Controllers, ATTEMPTS, HARMLESS};
use crate::child::{confined, status_of, ROLES};
use hcall_vmm::sandbox::{Enclosure, FileAccess, Sandbox, ThreadRole};

/// Whether a thread of `role` must be refused, in a process that is enclosed so.
fn must_fail(attempt: &Attempt, role: ThreadRole, enclosure: &Enclosure) -> bool {
    match (role, attempt.controllers) {
        (ThreadRole::Control, Controllers::Let) => false,
        (ThreadRole::Control, Controllers::RefusedByLandlock) => {
            enclosure.file_access != FileAccess::All
        }
        _ => true,
    }
}

/// Every attempt that a thread of `role` must be refused is refused, and no other.
pub(crate) fn everything_is_refused(role: ThreadRole, enclosure: &Enclosure) -> Result<(), String> {
    for attempt in ATTEMPTS {
        let made = attempt.make();
        match (&made, must_fail(attempt, role, enclosure)) {
            (Err(error), true) if is_refusal(attempt, error) => {}
            (made, true) => return Err(format!("{}: {made:?}", attempt.name)),
            (Err(error), false) if is_refusal(attempt, error) => {
                return Err(format!("{} is needed: {error}", attempt.name));
            }
            (_, false) => {}
        }
    }
    Ok(())
}

/// What Landlock refuses by itself.
pub(crate) fn paths_are_refused() -> Result<(), String> {
    for attempt in ATTEMPTS.iter().filter(|attempt| is_landlocks(attempt)) {
        match attempt.make() {
            Err(error) if is_refusal(attempt, &error) => {}
            made => return Err(format!("{}: {made:?}", attempt.name)),
        }
    }
    Ok(())
}

pub(crate) fn is_landlocks(attempt: &Attempt) -> bool {
    attempt.controllers == Controllers::RefusedByLandlock
}

/// Has the harmless attempts of this kind succeed.
pub(crate) fn harmless_succeed(kind: impl Fn(&Attempt) -> bool) -> Result<(), String> {
    for attempt in ATTEMPTS[..HARMLESS].iter().filter(|attempt| kind(attempt)) {
        let made = attempt.make();
        made.map_err(|error| format!("{}: {error}", attempt.name))?;
    }
    Ok(())
}

#[test]
fn a_confined_thread_gets_no_file_no_socket_and_no_process() {
    for role in ROLES {
        confined(role, move |enclosure| {
            everything_is_refused(role, enclosure)
        });
    }
}

/// The attempts are real ones: without a sandbox the harmless of them succeed.
#[test]
fn without_a_sandbox_the_same_attempts_succeed() {
    assert_eq!(status_of(|| harmless_succeed(|_| true)), 0);
}

/// Landlock by itself: a thread with every system call, and no path.
#[test]
fn an_enclosed_thread_opens_nothing() {
    let status = status_of(|| {
        let sandbox = Sandbox::new();
        let enclosure = sandbox.enclose().map_err(|error| error.to_string())?;
        if enclosure.file_access == FileAccess::All {
            return Err("this kernel has no Landlock".into());
        }
        paths_are_refused()
    });
    assert_eq!(status, 0);
}

/// A ring's thread is started by a vCPU's, and has both filters.
#[test]
fn a_thread_that_a_confined_thread_starts_is_confined_as_well() {
    confined(ThreadRole::Vcpu, |enclosure| {
        let enclosure = enclosure.clone();
        let thread = std::thread::Builder::new()
            .name("ring-0".into())
            .spawn(move || {
                everything_is_refused(ThreadRole::Vcpu, &enclosure)?;
                let sandbox = Sandbox::new();
                let confined = sandbox.confine_thread(ThreadRole::Ring);
                confined.map_err(|error| error.to_string())?;
                everything_is_refused(ThreadRole::Ring, &enclosure)
            })
            .map_err(|error| format!("a thread: {error}"))?;
        thread.join().map_err(|_| "it panicked")?
    });
}
