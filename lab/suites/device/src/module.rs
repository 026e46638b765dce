// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loading and unloading the module, and whether it is there.

use crate::failure::{equal, Check, Failure};
use hcall_guest::abi::ioctl::{DEVICE_NAME, DEVICE_PATH};
use rustix::io::Errno;
use rustix::system::{delete_module, finit_module};
use std::ffi::CString;
use std::fs::File;
use std::path::{Path, PathBuf};

/// `O_NONBLOCK` for `delete_module`: fail rather than wait for the users of the module.
const WITHOUT_WAITING: i32 = 0o4000;

/// The module's file.
#[derive(Debug)]
pub(crate) struct Module(PathBuf);

impl Module {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Asks the kernel to load the module; the inner result is the kernel's.
    pub(crate) fn try_load(&self, parameters: &str) -> Result<Result<(), Errno>, Failure> {
        let file = File::open(&self.0)
            .map_err(|error| Failure::new(format!("{}: {error}", self.0.display())))?;
        Ok(finit_module(&file, &CString::new(parameters)?, 0))
    }

    /// Loads the module.
    pub(crate) fn load(&self, parameters: &str) -> Check {
        equal("finit_module", self.try_load(parameters)?, Ok(()))
    }
}

/// Asks the kernel to unload the module.
pub(crate) fn try_unload() -> Result<(), Errno> {
    delete_module(c"hcall", WITHOUT_WAITING)
}

/// Unloads the module.
pub(crate) fn unload() -> Check {
    equal("delete_module", try_unload(), Ok(()))
}

/// Fails if the module or its node is there.
pub(crate) fn ensure_absent() -> Check {
    equal("the node exists", Path::new(DEVICE_PATH).exists(), false)?;
    let modules = std::fs::read_to_string("/proc/modules")?;
    let name = format!("{DEVICE_NAME} ");
    let listed = modules.lines().any(|line| line.starts_with(&name));
    equal("/proc/modules lists hcall", listed, false)
}

/// How many hold the module: its open files.
pub(crate) fn references() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/sys/module/hcall/refcnt")?;
    Ok(text.trim().parse()?)
}
