// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host of a plugin, where no call is needed.

use crate::abi::HostFunctions;
use std::fmt;

/// How important a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Level {
    /// Something failed.
    Error = 1,
    /// Something is wrong.
    Warning = 2,
    /// Something of interest happened.
    Information = 3,
    /// For whoever debugs.
    Debugging = 4,
    /// For whoever wants everything.
    Tracing = 5,
}

/// The host of a plugin: to be kept in its state, if it logs without a call.
///
/// It is there until the state has been dropped. A thread that a plugin has started must have
/// ended by then anyway, for its code goes next.
#[derive(Clone, Copy)]
pub struct Host(*const HostFunctions);

// SAFETY: what it points to does not change while the plugin is loaded, and `log` may be called
// by any thread.
unsafe impl Send for Host {}
// SAFETY: see above.
unsafe impl Sync for Host {}

impl Host {
    /// # Safety
    ///
    /// It is the host's own table, which stands until the plugin is unloaded.
    pub(crate) unsafe fn new(functions: *const HostFunctions) -> Self {
        Self(functions)
    }

    /// Has `message` logged, with the plugin's name.
    pub fn log(&self, level: Level, message: &str) {
        let length = message.len() as u64;
        // SAFETY: the host's own table, by `new`'s contract, and `length` bytes of text.
        unsafe { ((*self.0).log)(self.0, level as u32, message.as_ptr().cast(), length) };
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Host").finish_non_exhaustive()
    }
}
