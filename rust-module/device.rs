// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! `/dev/hcall`. A misc device without a mode of its own gets 0600 from devtmpfs.

use crate::abi::ioctl;
use crate::sdk::detect::Host;
use crate::{calls, host};
use kernel::fs::File;
use kernel::miscdevice::{MiscDevice, MiscDeviceOptions, MiscDeviceRegistration};
use kernel::prelude::*;
use kernel::seq_file::SeqFile;
use kernel::seq_print;
use kernel::sync::atomic::{Atomic, Relaxed};

/// For the registration.
pub(crate) const OPTIONS: MiscDeviceOptions = MiscDeviceOptions { name: c"hcall" };

/// One open file.
pub(crate) struct OpenFile {
    host: &'static Host,
    /// Calls that policy refused; shown in the file's fdinfo.
    refused: Atomic<u64>,
}

#[vtable]
impl MiscDevice for OpenFile {
    type Ptr = KBox<Self>;

    fn open(_file: &File, _device: &MiscDeviceRegistration<Self>) -> Result<KBox<Self>> {
        let file = Self {
            host: host::attached()?,
            refused: Atomic::new(0),
        };
        Ok(KBox::new(file, GFP_KERNEL)?)
    }

    /// Also serves 32-bit processes: the layouts are the same, and the default
    /// `compat_ioctl` widens the pointer.
    fn ioctl(me: &OpenFile, _file: &File, request: u32, argument: usize) -> Result<isize> {
        let pointer = UserPtr::from_addr(argument);
        let done = match request {
            ioctl::INFO => calls::info(me.host, pointer),
            ioctl::CALL => calls::call(me.host, pointer),
            ioctl::CALL_BUFFER => calls::call_buffer(me.host, pointer),
            _ => Err(ENOTTY),
        };
        if done == Err(EPERM) {
            me.refused.add(1, Relaxed);
        }
        done.map(|()| 0)
    }

    fn show_fdinfo(me: &OpenFile, seq: &SeqFile, _file: &File) {
        seq_print!(seq, "hcall-refused:\t{}\n", me.refused.load(Relaxed));
    }
}
