// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The ioctl structures on their way from and to the process.

use crate::abi::ioctl::{self, Batch, Call, CallBuffer, Info, Restrict};
use kernel::ioctl::{_IOR, _IOW, _IOWR};
use kernel::prelude::*;
use kernel::transmute::{AsBytes, FromBytes};
use kernel::uaccess::UserSlice;

// SAFETY: `repr(C)` of integers only: every bit pattern is a value.
unsafe impl FromBytes for Call {}
// SAFETY: as above.
unsafe impl FromBytes for CallBuffer {}
// SAFETY: as above.
unsafe impl FromBytes for Batch {}
// SAFETY: as above.
unsafe impl FromBytes for Restrict {}
// SAFETY: `repr(C)` of `u32` only, so without padding.
unsafe impl AsBytes for Info {}

const _: () = {
    const MAGIC: u32 = ioctl::IOCTL_MAGIC as u32;
    assert!(_IOR::<Info>(MAGIC, ioctl::INFO_SEQUENCE as u32) == ioctl::INFO);
    assert!(_IOWR::<Call>(MAGIC, ioctl::CALL_SEQUENCE as u32) == ioctl::CALL);
    assert!(_IOWR::<CallBuffer>(MAGIC, ioctl::CALL_BUFFER_SEQUENCE as u32) == ioctl::CALL_BUFFER);
    assert!(_IOWR::<Batch>(MAGIC, ioctl::BATCH_SEQUENCE as u32) == ioctl::BATCH);
    assert!(_IOW::<Restrict>(MAGIC, ioctl::RESTRICT_SEQUENCE as u32) == ioctl::RESTRICT);
};

/// Copies a structure in, once; what is checked is the copy.
pub(crate) fn read<T: FromBytes>(pointer: UserPtr) -> Result<T> {
    UserSlice::new(pointer, size_of::<T>()).reader().read()
}

/// Copies `value` out.
pub(crate) fn write<T: AsBytes>(pointer: UserPtr, value: &T) -> Result {
    UserSlice::new(pointer, size_of::<T>())
        .writer()
        .write(value)
}

/// Copies the host's answer out, to `offset` of the structure at `pointer`.
pub(crate) fn write_result(pointer: UserPtr, offset: usize, result: i64) -> Result {
    write(pointer.wrapping_byte_add(offset), &result)
}
