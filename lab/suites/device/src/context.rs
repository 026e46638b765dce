// SPDX-License-Identifier: MIT OR Apache-2.0
//! What all cases share: the module's file and the kernel log since the start.

use crate::failure::Failure;
use crate::kernel_log::KernelLog;
use crate::module::Module;
use std::cell::RefCell;
use std::path::PathBuf;

/// The surroundings of the cases.
pub(crate) struct Context {
    pub(crate) module: Module,
    pub(crate) log: RefCell<KernelLog>,
}

impl Context {
    /// Begins to follow the kernel log.
    pub(crate) fn new(module: PathBuf) -> Result<Self, Failure> {
        Ok(Self {
            module: Module::new(module),
            log: RefCell::new(KernelLog::follow()?),
        })
    }
}
