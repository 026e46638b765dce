// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may open the device.

use crate::failure::{equal, passes, Check, Failure};
use hcall_guest::abi::ioctl::DEVICE_PATH;
use hcall_guest::device::{Device, DeviceError};
use hcall_guest::Errno;
use hcall_ktap::Suite;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// nobody, nogroup.
const NOBODY: u32 = 65534;

pub(super) fn add(suite: Suite<'_>) -> Suite<'_> {
    suite.case("another user than root: EACCES", || passes(unprivileged()))
}

fn unprivileged() -> Check {
    // Linux keeps credentials per thread; this one's change ends with it.
    let opened = std::thread::spawn(open_as_nobody)
        .join()
        .map_err(|_| Failure::new("the thread panicked"))??;
    let due = DeviceError::Open {
        path: DEVICE_PATH.into(),
        errno: Errno::EACCES,
    };
    equal("Device::open", opened.map(drop), Err(due))
}

fn open_as_nobody() -> Result<Result<Device, DeviceError>, Failure> {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)?;
    Ok(Device::open())
}
