// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! What `CALL_BUFFER` takes.

use kernel::prelude::*;

#[kunit_tests(hcall_call_buffer)]
mod tests {
    use crate::abi::ioctl::{CallBuffer, BUFFER_IN, BUFFER_MAX, BUFFER_OUT};
    use crate::calls::check_buffer;
    use kernel::prelude::*;

    fn check(change: impl FnOnce(&mut CallBuffer)) -> Result<usize> {
        let mut call = CallBuffer {
            flags: BUFFER_IN,
            ..CallBuffer::default()
        };
        change(&mut call);
        check_buffer(&call)
    }

    #[test]
    fn a_buffer_goes_in_or_out_or_both() {
        for flags in [BUFFER_IN, BUFFER_OUT, BUFFER_IN | BUFFER_OUT] {
            assert_eq!(check(|call| call.flags = flags), Ok(0));
        }
        for flags in [0, 4, BUFFER_IN | 4, u32::MAX] {
            assert_eq!(check(|call| call.flags = flags), Err(EINVAL));
        }
    }

    #[test]
    fn a_buffer_has_a_largest_length() {
        for length in [0, 1, BUFFER_MAX] {
            assert_eq!(check(|call| call.length = length), Ok(0));
        }
        for length in [BUFFER_MAX + 1, u32::MAX] {
            assert_eq!(check(|call| call.length = length), Err(EINVAL));
        }
    }

    #[test]
    fn address_and_length_have_two_arguments() {
        for index in 0..3 {
            assert_eq!(check(|call| call.gpa_index = index), Ok(index as usize));
        }
        for index in [3, 4, u32::MAX] {
            assert_eq!(check(|call| call.gpa_index = index), Err(EINVAL));
        }
    }

    #[test]
    fn these_two_arguments_are_not_used_otherwise() {
        assert_eq!(check(|call| call.arguments = [0, 0, 5, 6]), Ok(0));
        assert_eq!(check(|call| call.arguments = [1, 0, 0, 0]), Err(EINVAL));
        assert_eq!(check(|call| call.arguments = [0, 1, 0, 0]), Err(EINVAL));
    }
}
