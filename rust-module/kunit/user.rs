// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! Pointers that no process can have.

use kernel::prelude::*;

#[kunit_tests(hcall_user)]
mod tests {
    use crate::abi::ioctl::{Call, Info, Restrict};
    use crate::user;
    use kernel::prelude::*;

    /// Where the kernel's half begins, and ends.
    const ADDRESSES: [usize; 3] = [1 << 63, 0xffff_8000_0000_0000, usize::MAX - 7];

    #[test]
    fn the_kernels_own_memory_is_not_read() {
        for address in ADDRESSES {
            let pointer = UserPtr::from_addr(address);
            assert!(matches!(user::read::<Call>(pointer), Err(error) if error == EFAULT));
            assert!(matches!(user::read::<Restrict>(pointer), Err(error) if error == EFAULT));
        }
    }

    #[test]
    fn the_kernels_own_memory_is_not_written() {
        for address in ADDRESSES {
            let pointer = UserPtr::from_addr(address);
            assert_eq!(user::write(pointer, &Info::default()), Err(EFAULT));
            assert_eq!(user::write_result(pointer, 8, 0), Err(EFAULT));
        }
    }
}
