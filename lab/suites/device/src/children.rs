// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the suite starts itself as, for what a process cannot check of itself: being
//! killed, living on without its memory, making no system call.

use crate::cases::ring_children;
use crate::failure::{Check, Failure};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

/// The first argument of a child; the second is its role, the third how many calls it makes.
const MARK: &str = "--as-child";

/// The roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Makes calls through a ring until it is killed.
    Flood,
    /// Makes calls through a ring where any system call is its end.
    Steady,
    /// Forks while it has a ring.
    Fork,
}

impl Role {
    const ALL: [(Self, &'static str); 3] = [
        (Self::Flood, "flood"),
        (Self::Steady, "steady"),
        (Self::Fork, "fork"),
    ];

    fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(role, _)| *role == self)
            .map_or("none", |(_, name)| name)
    }

    fn run(self, calls: u64) -> Check {
        match self {
            Self::Flood => ring_children::flood(),
            Self::Steady => ring_children::steady(calls),
            Self::Fork => ring_children::fork(),
        }
    }

    /// Starts a child that makes so many calls, if its role is not to make them without end;
    /// its standard output is the caller's to read.
    pub(crate) fn start(self, calls: u64) -> Result<(Child, ChildStdout), Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([MARK, self.name(), &calls.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take();
        Ok((child, output.ok_or_else(|| Failure::new("no output"))?))
    }
}

/// Plays the role that the command line names; `None` if this is no child.
pub(crate) fn play() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != MARK {
        return None;
    }
    let wanted = arguments.next()?;
    let (role, _) = Role::ALL.iter().find(|(_, name)| *name == wanted)?;
    let calls = arguments.next()?.parse().ok()?;
    Some(match role.run(calls) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    })
}
