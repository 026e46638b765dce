// SPDX-License-Identifier: MIT OR Apache-2.0
//! An open device, and calls through it.

use super::{request, Buffer, DeviceError};
use hcall_abi::convention::ARGUMENT_COUNT;
use hcall_abi::ioctl::{Call, Info, DEVICE_PATH};
use hcall_abi::{decode_result, Errno, HypercallNumber, ABI_VERSION};
use std::fs::{File, OpenOptions};
use std::path::Path;

/// An open `/dev/hcall`.
///
/// Calls take `&self` and no lock, so that one device serves any number of threads.
#[derive(Debug)]
pub struct Device {
    file: File,
    info: Info,
}

impl Device {
    /// Opens `/dev/hcall`.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Open`] says why it cannot be opened, [`DeviceError::NotHcall`] that
    /// something else is there.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use hcall_guest::device::Device;
    ///
    /// let device = Device::open()?;
    /// println!("CPUID base {:#x}", device.info().cpuid_base);
    /// # Ok::<(), hcall_guest::device::DeviceError>(())
    /// ```
    pub fn open() -> Result<Self, DeviceError> {
        Self::open_at(DEVICE_PATH)
    }

    /// Opens the device at another path.
    ///
    /// # Errors
    ///
    /// As [`Device::open`].
    pub fn open_at(path: impl AsRef<Path>) -> Result<Self, DeviceError> {
        let path = path.as_ref();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|error| DeviceError::Open {
                path: path.to_owned(),
                errno: request::from_os(error.raw_os_error().unwrap_or_default()),
            })?;
        Self::from_file(file, path)
    }

    /// Makes sure that `file`, which people know as `path`, is the device.
    pub(super) fn from_file(file: File, path: &Path) -> Result<Self, DeviceError> {
        match request::info(&file) {
            Ok(info) if info.abi_version == ABI_VERSION.get() => Ok(Self { file, info }),
            Ok(_) | Err(Errno::ENOTTY | Errno::EINVAL) => Err(DeviceError::NotHcall {
                path: path.to_owned(),
            }),
            Err(errno) => Err(DeviceError::Request {
                request: "INFO",
                errno,
            }),
        }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// What the module found when it was loaded.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Makes the hypercall `number`; arguments that are not given are zero.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Call`] if the host answered with an errno; the other variants say
    /// why the call was not made. The one exception is [`DeviceError::Request`] with
    /// EFAULT from a kernel that could not write the answer.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use hcall_guest::device::Device;
    /// use hcall_guest::HypercallNumber;
    ///
    /// const GREET: HypercallNumber = HypercallNumber::user(0x01);
    /// let sum = Device::open()?.call(GREET, &[2, 40])?;
    /// # Ok::<(), hcall_guest::device::DeviceError>(())
    /// ```
    pub fn call(&self, number: HypercallNumber, arguments: &[u64]) -> Result<u64, DeviceError> {
        if arguments.len() > ARGUMENT_COUNT {
            return Err(DeviceError::TooManyArguments(arguments.len()));
        }
        let mut call = Call {
            number: number.get(),
            ..Call::default()
        };
        call.arguments[..arguments.len()].copy_from_slice(arguments);
        let raw = request::call(&self.file, call)
            .map_err(|errno| request::failure("CALL", number, errno))?;
        Ok(decode_result(raw)?)
    }

    /// Makes the hypercall `number` with a buffer: the host gets `before`, then GPA and
    /// length of the buffer, then `after`.
    ///
    /// # Errors
    ///
    /// As [`Device::call`], and [`DeviceError::BufferTooLong`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use hcall_guest::device::{Buffer, Device};
    /// use hcall_guest::HypercallNumber;
    ///
    /// const FILL: HypercallNumber = HypercallNumber::user(0x02);
    /// let mut bytes = [0; 64];
    /// // The handler receives (0x2a, GPA, 64, 0).
    /// Device::open()?.call_buffer(FILL, &[0x2a], Buffer::Out(&mut bytes), &[])?;
    /// # Ok::<(), hcall_guest::device::DeviceError>(())
    /// ```
    pub fn call_buffer(
        &self,
        number: HypercallNumber,
        before: &[u64],
        mut buffer: Buffer<'_>,
        after: &[u64],
    ) -> Result<u64, DeviceError> {
        let call = buffer.request(number, before, after)?;
        // SAFETY: address and length are those of the slice that `buffer` still borrows,
        // exclusively if the flags let the kernel write to it.
        let raw = unsafe { request::call_buffer(&self.file, call) }
            .map_err(|errno| request::failure("CALL_BUFFER", number, errno))?;
        Ok(decode_result(raw)?)
    }
}

macro_rules! define_hcall {
    ($name:ident, $count:literal $(, $argument:ident)*) => {
        impl Device {
            #[doc = concat!("Makes the hypercall `number` with ", $count, ".")]
            ///
            /// # Errors
            ///
            /// As [`Device::call`].
            pub fn $name(
                &self,
                number: HypercallNumber
                $(, $argument: u64)*
            ) -> Result<u64, DeviceError> {
                self.call(number, &[$($argument),*])
            }
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

    #[test]
    fn a_missing_node_is_named() {
        let error = Device::open_at("/nonexistent/hcall").unwrap_err();
        let expected = DeviceError::Open {
            path: "/nonexistent/hcall".into(),
            errno: Errno::ENOENT,
        };
        assert_eq!(error, expected);
    }

    #[test]
    fn another_device_is_not_taken_for_it() {
        let error = Device::open_at("/dev/null").unwrap_err();
        let expected = DeviceError::NotHcall {
            path: "/dev/null".into(),
        };
        assert_eq!(error, expected);
    }

    #[test]
    fn threads_can_share_it() {
        fn shareable<T: Send + Sync>() {}
        shareable::<Device>();
        shareable::<DeviceError>();
    }
}
