// SPDX-License-Identifier: MIT OR Apache-2.0
//! What every part of a run shares: places, logs, and what has been built already.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::cargo::{Programs, Unikernels};
use crate::description::Descriptions;
use crate::dynamic::Dynamic;
use crate::places::Places;
use crate::provision::Flavour;

/// How many logs are kept.
const KEPT_LOGS: usize = 60;

/// How much of what is run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verbosity {
    Progress,
    Everything,
}

/// The state of one run of this program.
#[derive(Debug)]
pub(crate) struct Workshop {
    pub(crate) places: Places,
    pub(crate) verbosity: Verbosity,
    pub(crate) logs: Logs,
    pub(crate) descriptions: Descriptions,
    pub(crate) programs: OnceLock<Programs>,
    pub(crate) dynamic: OnceLock<Dynamic>,
    pub(crate) unikernels: OnceLock<Unikernels>,
    pub(crate) unikernels_32: OnceLock<Unikernels>,
    /// The SDK for unikernels in C.
    pub(crate) guest_library: OnceLock<PathBuf>,
    pub(crate) kernel: OnceLock<PathBuf>,
    pub(crate) debug_kernel: OnceLock<PathBuf>,
    pub(crate) modules: BTreeMap<Flavour, PathBuf>,
    /// By the directory that they were built from, and the kernel that they are for.
    pub(crate) other_modules: BTreeMap<(String, Flavour), PathBuf>,
    /// What of the installed packages the lab's guest runs.
    pub(crate) packages: OnceLock<PathBuf>,
    /// The machines that were booted twice, and why.
    pub(crate) retries: Vec<String>,
}

impl Workshop {
    pub(crate) fn open(verbosity: Verbosity) -> Result<Self> {
        let places = Places::find()?;
        Ok(Self {
            verbosity,
            logs: Logs {
                directory: places.logs.clone(),
            },
            descriptions: Descriptions::read(&places.checkout.join("lab"))?,
            places,
            programs: OnceLock::new(),
            dynamic: OnceLock::new(),
            unikernels: OnceLock::new(),
            unikernels_32: OnceLock::new(),
            guest_library: OnceLock::new(),
            kernel: OnceLock::new(),
            debug_kernel: OnceLock::new(),
            modules: BTreeMap::new(),
            other_modules: BTreeMap::new(),
            packages: OnceLock::new(),
            retries: Vec::new(),
        })
    }
}

/// The directory with the logs of this and earlier runs.
#[derive(Debug)]
pub(crate) struct Logs {
    directory: PathBuf,
}

impl Logs {
    /// Begins the log of `name`, and removes the oldest.
    pub(crate) fn create(&self, name: &str) -> Result<(File, PathBuf)> {
        self.remove_oldest()?;
        let time = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .context("the clock is set before 1970")?;
        let name = name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        let file = format!("{}-{:03}-{name}.log", time.as_secs(), time.subsec_millis());
        let path = self.directory.join(file);
        let file =
            File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok((file, path))
    }

    fn remove_oldest(&self) -> Result<()> {
        let mut logs = self.list().context("cannot list the logs")?;
        // Their names begin with the time.
        logs.sort();
        let surplus = logs.len().saturating_sub(KEPT_LOGS - 1);
        for log in &logs[..surplus] {
            remove(log)?;
        }
        Ok(())
    }

    fn list(&self) -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(&self.directory)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect()
    }
}

/// Removes a log; another run may have done so at the same moment.
fn remove(log: &Path) -> Result<()> {
    match fs::remove_file(log) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", log.display()))
        }
        _ => Ok(()),
    }
}
