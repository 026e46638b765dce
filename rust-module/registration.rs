// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The registration of the misc device.
//!
//! The kernel crate's own leaves the owner out of the file operations up to Linux 7.2: the
//! module could be unloaded while a file is open, and closing that file would run freed
//! code. Here the owner is there on every release.

use crate::device::{OpenFile, OPTIONS};
use core::marker::PhantomPinned;
use kernel::bindings;
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::types::Opaque;

/// The registered device; gone when dropped.
///
/// # Invariants
///
/// `device` is registered, and its `fops` points to `operations`.
#[pin_data(PinnedDrop)]
pub(crate) struct Registration {
    device: Opaque<bindings::miscdevice>,
    operations: bindings::file_operations,
    #[pin]
    _pinned: PhantomPinned,
}

// SAFETY: only initialization and drop touch the fields, and `misc_deregister` may be
// called on another thread than `misc_register`.
unsafe impl Send for Registration {}
// SAFETY: nothing can be done with a shared reference.
unsafe impl Sync for Registration {}

impl Registration {
    /// Registers the device, with `module` as the owner of its open files.
    pub(crate) fn register(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        let initialize = move |slot: *mut Self| {
            let mut device = OPTIONS.into_raw::<OpenFile>();
            // SAFETY: `into_raw` points to a static table.
            let mut operations = unsafe { *device.fops };
            operations.owner = module.as_ptr();
            // SAFETY: `slot` is valid for writes, and what it holds is not moved until it
            // is dropped, so that the device can point into it.
            let registered = unsafe {
                (&raw mut (*slot).operations).write(operations);
                device.fops = &raw const (*slot).operations;
                let place = (*slot).device.get();
                place.write(device);
                bindings::misc_register(place)
            };
            // INVARIANT: on success all fields are as they must be; `_pinned` is empty.
            to_result(registered)
        };
        // SAFETY: on success `slot` is initialized; on failure it holds nothing to drop.
        unsafe { pin_init::pin_init_from_closure(initialize) }
    }
}

#[pinned_drop]
impl PinnedDrop for Registration {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: the device is registered, by the type's invariant. It is the same object
        // that the callbacks take for the kernel crate's registration, which is
        // transparent; none of them runs any more when this returns, as open files hold
        // the module.
        unsafe { bindings::misc_deregister(self.device.get()) };
    }
}
