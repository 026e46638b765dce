// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is left of the sandbox where the kernel has not all of it.

use crate::attempts::CREATED;
use crate::child::{status_of, ROLES};
use crate::pretend::{Lack, Pretence};
use crate::refusals::{everything_is_refused, harmless_succeed, is_landlocks, paths_are_refused};
use hcall_vmm::sandbox::{Enclosure, FileAccess, Sandbox, ThreadRole};

fn say(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Has `test` succeed in a process that is enclosed where the kernel lacks this.
#[track_caller]
fn enclosed(lacks: &[Lack], test: impl FnOnce(&Sandbox, &Enclosure) -> Result<(), String>) {
    let pretence = Pretence::of(lacks);
    let status = status_of(|| {
        pretence.begin().map_err(say)?;
        let sandbox = Sandbox::new();
        let enclosure = sandbox.enclose().map_err(say)?;
        test(&sandbox, &enclosure)
    });
    assert_eq!(status, 0, "without {lacks:?}: status {status:#x}");
}

/// What the warning says of it.
fn expect(enclosure: &Enclosure, said: &str) -> Result<(), String> {
    if enclosure.lacks_a_layer() && !enclosure.is_complete() && enclosure.to_string() == said {
        return Ok(());
    }
    Err(format!("{enclosure}: {enclosure:?}, expected: {said}"))
}

/// No set-user-ID program helps, whatever else there is.
fn expect_no_new_privileges() -> Result<(), String> {
    // SAFETY: it has no pointers.
    match unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) } {
        1 => Ok(()),
        other => Err(format!("no new privileges: {other}")),
    }
}

#[test]
fn without_landlock_threads_are_refused_all_the_same() {
    for lack in [Lack::Landlock, Lack::LandlockAtBoot] {
        for role in ROLES {
            enclosed(&[lack], |sandbox, enclosure| {
                let said = "all paths, since this kernel has no Landlock, few system calls \
                            (seccomp)";
                expect(enclosure, said)?;
                expect_no_new_privileges()?;
                sandbox.confine_thread(role).map_err(say)?;
                everything_is_refused(role, enclosure)
            });
        }
    }
    // By the role that is let: who has a role can remove nothing.
    let created = CREATED.to_str().expect("a constant");
    std::fs::remove_file(created).expect("it has been let");
}

#[test]
fn without_seccomp_paths_are_refused_all_the_same() {
    for lack in [Lack::Seccomp, Lack::SeccompFilters] {
        enclosed(&[lack], |sandbox, enclosure| {
            if enclosure.file_access == FileAccess::All {
                return Err("this kernel has no Landlock".into());
            }
            if enclosure.filters_calls || !enclosure.lacks_a_layer() {
                return Err(format!("{enclosure:?}"));
            }
            expect_no_new_privileges()?;
            // It has nothing to do, and nobody must end for that.
            sandbox.confine_thread(ThreadRole::Vcpu).map_err(say)?;
            paths_are_refused()?;
            // The pretence is none where the others are refused as well.
            harmless_succeed(|attempt| !is_landlocks(attempt))
        });
    }
}

#[test]
fn without_both_there_are_no_new_privileges() {
    enclosed(
        &[Lack::LandlockAtBoot, Lack::SeccompFilters],
        |sandbox, enclosure| {
            let said =
                "all paths, since this kernel has no Landlock, all system calls, since this \
                    kernel has no seccomp";
            expect(enclosure, said)?;
            sandbox.confine_thread(ThreadRole::Vcpu).map_err(say)?;
            expect_no_new_privileges()?;
            harmless_succeed(|_| true)
        },
    );
}
