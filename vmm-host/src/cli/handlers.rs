// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall-vmm run --handler NUMBER=SOURCE`.

use crate::extend::{Assignment, Installer, OpenedSource};
use crate::table::HypercallTable;
use anyhow::Context;

/// A handler that is to be, connected or opened.
pub(super) struct OpenedHandler {
    assignment: Assignment,
    opened: OpenedSource,
}

/// Connects to or opens all of them, in order; returns first those that are processes, which
/// have threads, then the others, which may want files.
pub(super) fn open(
    assignments: &[Assignment],
) -> anyhow::Result<(Vec<OpenedHandler>, Vec<OpenedHandler>)> {
    let open = |assignment: &Assignment| {
        let opened = assignment
            .source
            .open()
            .with_context(|| format!("--handler {assignment}"))?;
        let assignment = assignment.clone();
        anyhow::Ok(OpenedHandler { assignment, opened })
    };
    let opened: Vec<_> = assignments.iter().map(open).collect::<Result<_, _>>()?;
    let is_process = |handler: &OpenedHandler| matches!(handler.opened, OpenedSource::Socket(_));
    Ok(opened.into_iter().partition(is_process))
}

/// Greets processes, loads plugins, and registers all of them.
pub(super) fn register(
    handlers: Vec<OpenedHandler>,
    installer: &Installer,
    table: &HypercallTable,
) -> anyhow::Result<()> {
    for OpenedHandler { assignment, opened } in handlers {
        installer
            .add(table, Some(assignment.number), &assignment.source, opened)
            .with_context(|| format!("--handler {assignment}"))?;
    }
    Ok(())
}
