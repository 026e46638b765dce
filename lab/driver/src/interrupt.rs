// SPDX-License-Identifier: MIT OR Apache-2.0
//! Nothing that this program started outlives it: Ctrl-C and its relatives end its
//! children first, with their whole process groups. (Death by SIGKILL is covered by a child's
//! parent-death signal, see `process.rs`.)

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use rustix::process::{kill_process, kill_process_group, Pid, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::process::Group;

/// The children that are running.
static CHILDREN: Mutex<Vec<(Pid, Group)>> = Mutex::new(Vec::new());

/// Ends the children and this program when it is told to end.
pub(crate) fn end_children_on_signals() -> Result<()> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot listen for signals")?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // Held until the end: no child can be started any more.
            let children = children();
            for (pid, group) in children.iter() {
                kill(*pid, *group);
            }
            eprintln!("hcall-lab: ended by signal {signal}");
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// Starts a child by `start` and registers it, so that no signal comes in between.
pub(crate) fn register<T, E>(
    group: Group,
    start: impl FnOnce() -> Result<T, E>,
    pid: impl FnOnce(&T) -> Pid,
) -> Result<T, E> {
    let mut children = children();
    let started = start()?;
    children.push((pid(&started), group));
    Ok(started)
}

/// The child has been waited for.
pub(crate) fn unregister(pid: Pid) {
    children().retain(|(child, _)| *child != pid);
}

/// Ends a registered child, if it is still there.
pub(crate) fn end_child(pid: Pid) {
    for (child, group) in children().iter() {
        if *child == pid {
            kill(pid, *group);
        }
    }
}

fn children() -> MutexGuard<'static, Vec<(Pid, Group)>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The error, that there is no such process, is what is wanted.
fn kill(pid: Pid, group: Group) {
    let _ = match group {
        Group::Own => kill_process_group(pid, Signal::KILL),
        Group::Callers => kill_process(pid, Signal::TERM),
    };
}
