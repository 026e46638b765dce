// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! `/dev/hcall`. A misc device without a mode of its own gets 0600 from devtmpfs.

use crate::abi::ioctl;
use crate::sdk::detect::Host;
use crate::ring_requests::RingSlot;
use crate::{calls, host};
use kernel::fs::File;
use kernel::miscdevice::{MiscDevice, MiscDeviceOptions, MiscDeviceRegistration};
use kernel::mm::virt::VmaNew;
use kernel::prelude::*;
use kernel::seq_file::SeqFile;
use kernel::seq_print;
use kernel::sync::atomic::{Atomic, Relaxed};
use kernel::sync::{new_mutex, Mutex};

/// For the registration.
pub(crate) const OPTIONS: MiscDeviceOptions = MiscDeviceOptions { name: c"hcall" };

/// One open file.
#[pin_data]
pub(crate) struct OpenFile {
    host: &'static Host,
    /// Calls that policy refused; shown in the file's fdinfo.
    refused: Atomic<u64>,
    /// Held while the ring is set up.
    #[pin]
    setting_up: Mutex<()>,
    ring: RingSlot,
}

impl OpenFile {
    /// `RING_SETUP`.
    fn set_up_ring(&self, pointer: UserPtr) -> Result {
        let _one_at_a_time = self.setting_up.lock();
        self.ring.set_up(self.host, None, pointer)
    }
}

#[vtable]
impl MiscDevice for OpenFile {
    type Ptr = Pin<KBox<Self>>;

    fn open(_file: &File, _device: &MiscDeviceRegistration<Self>) -> Result<Pin<KBox<Self>>> {
        let host = host::attached()?;
        let file = pin_init!(Self {
            host,
            refused: Atomic::new(0),
            setting_up <- new_mutex!((), "hcall ring"),
            ring: RingSlot::empty(),
        });
        KBox::pin_init(file, GFP_KERNEL)
    }

    /// The file's ring.
    fn mmap(me: Pin<&OpenFile>, _file: &File, vma: &VmaNew) -> Result {
        me.ring.map(vma)
    }

    /// Also serves 32-bit processes: the layouts are the same, and the default
    /// `compat_ioctl` widens the pointer.
    fn ioctl(me: Pin<&OpenFile>, _file: &File, request: u32, argument: usize) -> Result<isize> {
        let pointer = UserPtr::from_addr(argument);
        let done = match request {
            ioctl::INFO => calls::info(me.host, pointer),
            ioctl::CALL => calls::call(me.host, pointer),
            ioctl::CALL_BUFFER => calls::call_buffer(me.host, pointer),
            ioctl::RING_SETUP => me.set_up_ring(pointer),
            ioctl::RING_KICK => me.ring.kick(argument),
            ioctl::RING_WAIT => me.ring.wait(pointer),
            _ => Err(ENOTTY),
        };
        if done == Err(EPERM) {
            me.refused.add(1, Relaxed);
        }
        done.map(|()| 0)
    }

    fn show_fdinfo(me: Pin<&OpenFile>, seq: &SeqFile, _file: &File) {
        seq_print!(seq, "hcall-refused:\t{}\n", me.refused.load(Relaxed));
    }
}
