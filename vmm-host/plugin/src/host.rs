// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host of a plugin, where no call is needed.

use crate::abi::HostFunctions;
use hcall_abi::Errno;
use std::fmt;
use std::mem::size_of;

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

/// The errno of a host's answer; EIO for what is none.
pub(crate) fn errno(answer: i32) -> Errno {
    answer
        .checked_neg()
        .and_then(|positive| u16::try_from(positive).ok())
        .and_then(Errno::new)
        .unwrap_or(Errno::EIO)
}

/// A function that was not there in the beginning: EOPNOTSUPP where the host is older. The
/// table is the host's own, until the plugin is unloaded.
macro_rules! newer {
    ($functions:expr, $name:ident) => {{
        let functions: *const $crate::abi::HostFunctions = $functions;
        // SAFETY: every table has its size, and is so long.
        unsafe {
            if $crate::host::reaches(
                (*functions).size,
                ::core::mem::offset_of!($crate::abi::HostFunctions, $name),
            ) {
                Ok((*functions).$name)
            } else {
                Err($crate::Errno::EOPNOTSUPP)
            }
        }
    }};
}
pub(crate) use newer;

/// Whether a table of `size` bytes has a function at `offset`.
pub(crate) fn reaches(size: u32, offset: usize) -> bool {
    size as usize >= offset + size_of::<fn()>()
}
