// SPDX-License-Identifier: MIT OR Apache-2.0
//! Giving up every path, by Landlock, and every new privilege.

use landlock::{
    Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, RestrictSelfAttr,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
    Scope, ABI,
};
use std::path::Path;
use std::time::Duration;
use std::{fmt, fs, io, thread};

/// The newest version whose rights are given up; older kernels give up those they know.
const NEWEST: ABI = ABI::V10;

/// What [`Sandbox::enclose`](super::Sandbox::enclose) had of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Enclosure {
    /// What the kernel's Landlock took away.
    pub file_access: FileAccess,
    /// Whether it filters system calls, so that threads can be confined.
    pub filters_calls: bool,
    /// Threads that ran already and could not be included.
    pub outside: usize,
}

/// What is left of the file system, and of what Landlock knows besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileAccess {
    /// Nothing.
    None,
    /// What this kernel's Landlock does not know yet, in an older version.
    Newer,
    /// Everything: there is no Landlock.
    All,
}

impl Enclosure {
    /// Whether the kernel had all of it.
    pub fn is_complete(&self) -> bool {
        self.file_access == FileAccess::None && self.filters_calls && self.outside == 0
    }

    /// Whether a layer is missing, not only its newest parts.
    pub fn lacks_a_layer(&self) -> bool {
        self.file_access == FileAccess::All || !self.filters_calls || self.outside > 0
    }
}

impl fmt::Display for Enclosure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.file_access {
            FileAccess::None => "no paths (Landlock)",
            FileAccess::Newer => "no paths (an older Landlock)",
            FileAccess::All => "all paths, since this kernel has no Landlock",
        })?;
        formatter.write_str(if self.filters_calls {
            ", few system calls (seccomp)"
        } else {
            ", all system calls, since this kernel has no seccomp"
        })?;
        match self.outside {
            0 => Ok(()),
            count => write!(
                formatter,
                "; threads that ran before and keep theirs: {count}"
            ),
        }
    }
}

pub(super) fn enclose(filters_calls: bool, removable: Option<&Path>) -> io::Result<Enclosure> {
    // Before Landlock: afterwards /proc cannot be read, and no path opened.
    let others = other_threads();
    let removable = removable.map(PathFd::new).transpose();
    let removable = removable.map_err(io::Error::other)?;
    let status = restrict(removable).map_err(io::Error::other)?;
    let file_access = match status.ruleset {
        RulesetStatus::FullyEnforced => FileAccess::None,
        RulesetStatus::PartiallyEnforced => FileAccess::Newer,
        RulesetStatus::NotEnforced => FileAccess::All,
    };
    Ok(Enclosure {
        file_access,
        filters_calls,
        outside: if status.all_threads { 0 } else { others },
    })
}

/// Rights are named, and no rule gives one back but that to remove files of `removable`.
fn restrict(removable: Option<PathFd>) -> Result<RestrictionStatus, RulesetError> {
    let rules = removable.map(|directory| PathBeneath::new(directory, AccessFs::RemoveFile));
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(rules.into_iter().map(Ok::<_, RulesetError>))?
        .all_threads(true)?
        .restrict_self()
}

/// How often, and at what intervals, threads are counted that are perhaps about to end: one
/// that was joined is in the kernel's list a little longer.
const COUNTS: usize = 10;
const COUNT_INTERVAL: Duration = Duration::from_micros(100);

/// How many threads the process has besides this one; none where that is not said.
fn other_threads() -> usize {
    let count = || {
        let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        threads.saturating_sub(1)
    };
    let mut others = count();
    for _ in 1..COUNTS {
        if others == 0 {
            break;
        }
        thread::sleep(COUNT_INTERVAL);
        others = count();
    }
    others
}
