// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The I/O port of the transport `Port`, requested so that no driver takes it and
//! `/proc/ioports` shows whose it is.

use crate::abi::transport::PORT;
use crate::sdk::detect::{Host, Trap};
use kernel::bindings;
use kernel::prelude::*;

/// Bytes that `out PORT, eax` touches.
const LENGTH: bindings::resource_size_t = 4;

/// The requested region; released when dropped.
pub(crate) struct PortRegion(());

impl PortRegion {
    /// Requests the port if calls to `host` use it.
    pub(crate) fn request_for(host: &Host) -> Result<Option<Self>> {
        if host.trap != Trap::Port {
            return Ok(None);
        }
        // SAFETY: the name is a static string, so it outlives the region.
        let resource =
            unsafe { bindings::request_region(PORT.into(), LENGTH, c"hcall".as_char_ptr()) };
        if resource.is_null() {
            pr_err!("I/O port {PORT:#x} is taken by another driver, see /proc/ioports\n");
            return Err(EBUSY);
        }
        Ok(Some(Self(())))
    }
}

impl Drop for PortRegion {
    fn drop(&mut self) {
        // SAFETY: a value of this type exists only while the region is requested.
        unsafe { bindings::release_region(PORT.into(), LENGTH) };
    }
}
