// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finding the device, and what it says of itself.

use crate::check::{equal, Check};
use hcall_guest::abi::cpuid::Features;
use hcall_guest::abi::{Transport, TransportSet, ABI_VERSION};
use hcall_guest::device::{Device, DeviceError};
use hcall_guest::Errno;

pub(crate) fn missing_node() -> Check {
    match Device::open_at("/nonexistent/hcall") {
        Err(DeviceError::Open { errno, .. }) => equal("open", errno, Errno::ENOENT),
        other => Err(format!("open: {other:?}").into()),
    }
}

pub(crate) fn another_device() -> Check {
    match Device::open_at("/dev/null") {
        Err(DeviceError::NotHcall { .. }) => Ok(()),
        other => Err(format!("open: {other:?}").into()),
    }
}

pub(crate) fn info() -> Check {
    let device = Device::open()?;
    let info = device.info();
    equal("ABI version", info.abi_version, ABI_VERSION.get())?;
    let transport = Transport::from_raw(info.transport).ok_or("a transport unheard of")?;
    let offered = TransportSet::from_bits(info.transports_offered);
    equal("it is offered", offered.contains(transport), true)?;
    let core_calls = Features::CORE_CALLS.bits();
    equal("core calls", info.features & core_calls, core_calls)?;
    equal("reserved", info.reserved, [0; 7])
}

pub(crate) fn probe() -> Check {
    equal("PROBE", Device::open()?.probe()?, ABI_VERSION)
}
