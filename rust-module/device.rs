// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! `/dev/hcall`. A misc device without a mode of its own gets 0600 from devtmpfs.

use crate::abi::ioctl;
use crate::abi::number::HypercallNumber;
use crate::policy::{self, Address};
use crate::restriction::Restriction;
use crate::ring_requests::RingSlot;
use crate::sdk::detect::Host;
use crate::{batch, calls, host};
use kernel::fs::File;
use kernel::miscdevice::{MiscDevice, MiscDeviceOptions, MiscDeviceRegistration};
use kernel::mm::virt::VmaNew;
use kernel::prelude::*;
use kernel::seq_file::SeqFile;
use kernel::seq_print;
use kernel::sync::atomic::{Atomic, Relaxed};

/// For the registration.
pub(crate) const OPTIONS: MiscDeviceOptions = MiscDeviceOptions { name: c"hcall" };

/// One open file.
#[pin_data]
pub(crate) struct OpenFile {
    host: &'static Host,
    /// Calls that policy refused; shown in the file's fdinfo.
    refused: Atomic<u64>,
    #[pin]
    restriction: Restriction,
    ring: RingSlot,
}

impl OpenFile {
    /// The host that its calls go to.
    pub(crate) fn host(&self) -> &'static Host {
        self.host
    }

    /// What the module parameter `allow` and `RESTRICT` have left of what may be called.
    pub(crate) fn restriction(&self) -> &Restriction {
        &self.restriction
    }

    /// Admits a number, by the file's restriction and then by the module's policy, or fails
    /// with `EPERM`.
    #[inline]
    pub(crate) fn admit(&self, number: u32, address: Address) -> Result<HypercallNumber> {
        let number = HypercallNumber::new(number).map_err(|_| EPERM)?;
        if !self.restriction.admits(number.get()) {
            return Err(EPERM);
        }
        policy::admit(number, address)?;
        Ok(number)
    }
}

#[vtable]
impl MiscDevice for OpenFile {
    type Ptr = Pin<KBox<Self>>;

    fn open(_file: &File, _device: &MiscDeviceRegistration<Self>) -> Result<Pin<KBox<Self>>> {
        let host = host::attached()?;
        KBox::try_pin_init(
            try_pin_init!(Self {
                host,
                refused: Atomic::new(0),
                restriction <- Restriction::new(policy::default_list()),
                ring: RingSlot::empty(),
            }),
            GFP_KERNEL,
        )
    }

    /// The file's ring.
    fn mmap(me: Pin<&OpenFile>, _file: &File, vma: &VmaNew) -> Result {
        me.ring.map(vma)
    }

    /// Also serves 32-bit processes: the layouts are the same, and the default
    /// `compat_ioctl` widens the pointer.
    fn ioctl(me: Pin<&OpenFile>, _file: &File, request: u32, argument: usize) -> Result<isize> {
        let pointer = UserPtr::from_addr(argument);
        let me = me.get_ref();
        let done = match request {
            ioctl::INFO => calls::info(me.host, pointer),
            ioctl::CALL => calls::call(me, pointer),
            ioctl::CALL_BUFFER => calls::call_buffer(me, pointer),
            ioctl::BATCH => batch::batch(me, pointer),
            ioctl::RESTRICT => calls::restrict(me, pointer),
            ioctl::RING_SETUP => me.ring.set_up(me.host, &me.restriction, pointer),
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
        match me.restriction.current() {
            Some(list) => seq_print!(seq, "hcall-allowed:\t{}\n", format_args!("{list}")),
            None => seq_print!(seq, "hcall-allowed:\tall\n"),
        }
    }
}
