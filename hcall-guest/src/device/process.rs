// SPDX-License-Identifier: MIT OR Apache-2.0
//! One device for the whole process, opened at the first call.

use super::{Device, DeviceError};
use hcall_abi::HypercallNumber;
use std::sync::OnceLock;

static DEVICE: OnceLock<Device> = OnceLock::new();

/// The process's device. A failure is not kept: the module may be loaded later.
fn device() -> Result<&'static Device, DeviceError> {
    if let Some(device) = DEVICE.get() {
        return Ok(device);
    }
    let opened = Device::open()?;
    Ok(DEVICE.get_or_init(|| opened))
}

macro_rules! define_hcall {
    ($name:ident, $count:literal $(, $argument:ident)*) => {
        #[doc = concat!("Makes the hypercall `number` with ", $count, ", through `/dev/hcall`.")]
        ///
        /// # Errors
        ///
        /// As [`Device::open`] and [`Device::call`].
        pub fn $name(number: HypercallNumber $(, $argument: u64)*) -> Result<u64, DeviceError> {
            device()?.$name(number $(, $argument)*)
        }
    };
}

define_hcall!(hcall0, "no argument");
define_hcall!(hcall1, "one argument", rbx);
define_hcall!(hcall2, "two arguments", rbx, rcx);
define_hcall!(hcall3, "three arguments", rbx, rcx, rdx);
define_hcall!(hcall4, "four arguments", rbx, rcx, rdx, rsi);

#[cfg(test)]
mod tests {
    use super::*;
    use hcall_abi::ioctl::DEVICE_PATH;
    use hcall_abi::number::PROBE;

    #[test]
    fn without_a_device_the_error_names_it() {
        if std::path::Path::new(DEVICE_PATH).exists() {
            assert!(hcall0(PROBE).is_ok());
        } else {
            let error = hcall0(PROBE).unwrap_err();
            assert!(error.to_string().contains(DEVICE_PATH), "{error}");
        }
    }
}
