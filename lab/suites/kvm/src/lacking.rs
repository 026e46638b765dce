// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall-vmm` in kernels that lack a layer of the sandbox: it says so, its guest runs, and what
//! the other layer refuses is refused. The kernels are pretended, by a filter that it inherits.

use crate::attempts::{Attempt, Controllers, ATTEMPTS, HARMLESS};
use crate::pretend::{Lack, Pretence};
use crate::sandbox::{no_transport, Setting};
use hcall_ktap::{CaseResult, Suite, Verdict};
use std::os::unix::process::CommandExt;
use std::process::Command;

const NO_LANDLOCK: &str = "all paths, since this kernel has no Landlock";
const NO_SECCOMP: &str = "all system calls, since this kernel has no seccomp";

/// A kernel: what it lacks, and what is said of it.
struct Kernel {
    name: &'static str,
    lacks: &'static [Lack],
    warnings: &'static [&'static str],
}

const KERNELS: [Kernel; 5] = [
    Kernel {
        name: "built without Landlock",
        lacks: &[Lack::Landlock],
        warnings: &[NO_LANDLOCK],
    },
    Kernel {
        name: "booted without Landlock",
        lacks: &[Lack::LandlockAtBoot],
        warnings: &[NO_LANDLOCK],
    },
    Kernel {
        name: "built without seccomp",
        lacks: &[Lack::Seccomp],
        warnings: &[NO_SECCOMP],
    },
    Kernel {
        name: "built without filters of seccomp",
        lacks: &[Lack::SeccompFilters],
        warnings: &[NO_SECCOMP],
    },
    Kernel {
        name: "built without both",
        lacks: &[Lack::Landlock, Lack::Seccomp],
        warnings: &[NO_LANDLOCK, NO_SECCOMP],
    },
];

pub(crate) fn add_cases<'a>(mut suite: Suite<'a>, setting: &Setting) -> Suite<'a> {
    for kernel in KERNELS {
        let setting = setting.clone();
        suite = suite.case(
            format!("sandbox: in a kernel {}, what is left holds", kernel.name),
            move || kernel.what_is_left_holds(&setting),
        );
    }
    suite
}

impl Kernel {
    fn what_is_left_holds(&self, setting: &Setting) -> CaseResult {
        if !setting.has_transport() {
            return Ok(no_transport());
        }
        if !self.lacks_landlock() && !has_landlock() {
            return Ok(Verdict::Skip(
                "this machine's kernel has no Landlock".into(),
            ));
        }
        let output = self
            .inside(setting.command("hello", ""))
            .output()
            .map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        let printed = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() || !printed.contains("hello from a unikernel") {
            return Err(format!("{}: {printed}{said}", output.status));
        }
        self.expect_warning(&said)?;

        // All of them only where seccomp refuses them all: the others are not harmless.
        let count = if self.lacks_seccomp() {
            HARMLESS
        } else {
            ATTEMPTS.len()
        };
        let command = self.inside(setting.command("attempts", &count.to_string()));
        let refused = ATTEMPTS[..count].iter().filter(|one| self.refuses(one));
        let refused = refused.count();
        let outcomes = setting.outcomes_of(command)?;
        outcomes.are(&[("refused", refused), ("succeeded", count - refused)])
    }

    fn lacks_landlock(&self) -> bool {
        let of_it = [Lack::Landlock, Lack::LandlockAtBoot];
        self.lacks.iter().any(|lack| of_it.contains(lack))
    }

    fn lacks_seccomp(&self) -> bool {
        let of_it = [Lack::Seccomp, Lack::SeccompFilters];
        self.lacks.iter().any(|lack| of_it.contains(lack))
    }

    fn refuses(&self, attempt: &Attempt) -> bool {
        let is_landlocks = attempt.controllers == Controllers::RefusedByLandlock;
        !self.lacks_seccomp() || (is_landlocks && !self.lacks_landlock())
    }

    fn inside(&self, mut command: Command) -> Command {
        let pretence = Pretence::of(self.lacks);
        // SAFETY: between fork and exec it makes system calls, and allocates nothing.
        unsafe { command.pre_exec(move || pretence.begin()) };
        command
    }

    fn expect_warning(&self, said: &str) -> Result<(), String> {
        let warning = said
            .lines()
            .find(|line| line.contains("the sandbox is incomplete"))
            .ok_or_else(|| format!("no warning: {said}"))?;
        for part in [NO_LANDLOCK, NO_SECCOMP] {
            if warning.contains(part) != self.warnings.contains(&part) {
                return Err(format!("{:?}: {warning}", self.warnings));
            }
        }
        Ok(())
    }
}

/// Whether there is something left where seccomp is not.
fn has_landlock() -> bool {
    const VERSION: u32 = 1;
    // SAFETY: it has no pointers.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, VERSION) };
    version > 0
}
