// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall-vmm run --plugin FILE`.

use crate::extend::{HandlerSource, OpenedSource, Plugin};
use crate::table::HypercallTable;
use anyhow::Context;
use std::path::PathBuf;
use std::sync::Arc;

/// Loads all of them, in order.
pub(super) fn load(files: &[PathBuf]) -> anyhow::Result<Vec<Arc<Plugin>>> {
    let mut plugins = Vec::new();
    for path in files {
        let opened = HandlerSource::Plugin(path.clone()).open()?;
        if let OpenedSource::Plugin { file, .. } = opened {
            plugins.push(Plugin::load(file, &path.to_string_lossy())?);
        }
    }
    Ok(plugins)
}

/// Registers all of their handlers.
pub(super) fn register(plugins: Vec<Arc<Plugin>>, table: &HypercallTable) -> anyhow::Result<()> {
    for plugin in plugins {
        plugin.register(table).with_context(|| {
            format!(
                "cannot register the handlers of the plugin {}",
                plugin.name()
            )
        })?;
    }
    Ok(())
}
