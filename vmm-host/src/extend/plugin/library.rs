// SPDX-License-Identifier: MIT OR Apache-2.0
//! The dynamic linker, for programs that have one.

use super::error::PluginFault;
use hcall_plugin::abi::{PluginDescriptor, SYMBOL};
use libloading::os::unix::{Library as Loaded, RTLD_LOCAL, RTLD_NOW};
use std::error::Error;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

/// A shared object that is loaded until this is dropped.
pub(super) struct Library(Loaded);

/// Whether this program can load anything.
///
/// The C library of a statically linked program loads a second C library with the plugin, as
/// best it can; where Rust says that a program is such a one, nothing of it is tried.
pub(super) fn possible() -> Result<(), PluginFault> {
    if cfg!(target_feature = "crt-static") {
        return Err(PluginFault::StaticProgram);
    }
    Ok(())
}

impl Library {
    pub(super) fn open(file: &OwnedFd) -> Result<Self, PluginFault> {
        // SAFETY: a plugin's start-up code runs, and its termination code when it is closed:
        // whoever loads one has chosen to run its code, see the module's documentation.
        let loaded = unsafe { Loaded::open(Some(unique_path(file)), RTLD_NOW | RTLD_LOCAL) };
        loaded.map(Self).map_err(|error| {
            let said = error
                .source()
                .map_or_else(|| error.to_string(), ToString::to_string);
            PluginFault::Link(said)
        })
    }

    /// Where the plugin says what it is.
    pub(super) fn descriptor(&self) -> Result<*const PluginDescriptor, PluginFault> {
        // SAFETY: the pointer is not followed here.
        let symbol = unsafe {
            self.0
                .get::<*const PluginDescriptor>(SYMBOL.to_bytes_with_nul())
        };
        let symbol = symbol.map_err(|_| PluginFault::NoDescriptor)?;
        Ok(symbol.into_raw().cast())
    }
}

/// A path of the open file that no other plugin of this process has had.
///
/// The dynamic linker takes an object that is loaded already for one of the same path, and an
/// object can be loaded for longer than its plugin (for a thread-local destructor), while the
/// number of its file is another's. So the path spells a serial number: after the directory,
/// `./` is a one and `/` a nought, which to the kernel are nothing.
fn unique_path(file: &OwnedFd) -> String {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let digits = (0..u32::BITS - serial.leading_zeros()).map(|bit| {
        if (serial >> bit) & 1 == 1 {
            "./"
        } else {
            "/"
        }
    });
    let digits: String = digits.collect();
    format!("/proc/self/fd/{digits}{}", file.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn paths_differ_and_lead_to_the_file() {
        let file: OwnedFd = File::open("/proc/self/exe").unwrap().into();
        let inode = std::fs::metadata("/proc/self/exe").unwrap().ino();
        let paths: BTreeSet<String> = (0..1000).map(|_| unique_path(&file)).collect();
        assert_eq!(paths.len(), 1000);
        for path in paths {
            assert_eq!(std::fs::metadata(&path).unwrap().ino(), inode, "{path}");
        }
    }
}
