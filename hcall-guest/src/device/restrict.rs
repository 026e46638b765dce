// SPDX-License-Identifier: MIT OR Apache-2.0
//! Giving up what one will not need to call.

use super::{request, Device, DeviceError};
use hcall_abi::allow_list::AllowList;
use hcall_abi::ioctl::{NumberRange, Restrict};

impl Device {
    /// Leaves only the numbers of `ranges` callable, for everybody who has this open file and
    /// for ever; no ranges leave nothing. At most sixteen.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Ranges`] if they make no sense, [`DeviceError::Widening`] if one of the
    /// numbers has been given up before; nothing has changed then.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use hcall_guest::abi::ioctl::NumberRange;
    /// use hcall_guest::abi::number::ECHO;
    /// use hcall_guest::device::Device;
    ///
    /// let device = Device::open()?;
    /// let echo = NumberRange { first: ECHO.get(), last: ECHO.get() };
    /// device.restrict(&[echo])?;
    /// assert!(device.probe().is_err());
    /// # Ok::<(), hcall_guest::device::DeviceError>(())
    /// ```
    pub fn restrict(&self, ranges: &[NumberRange]) -> Result<(), DeviceError> {
        let list = AllowList::new(ranges)?;
        let mut restrict = Restrict {
            count: list.ranges().len() as u32,
            ..Restrict::default()
        };
        restrict.ranges[..list.ranges().len()].copy_from_slice(list.ranges());
        request::restrict(self.file(), restrict).map_err(request::restrict_failure)
    }
}
