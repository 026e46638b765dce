// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! What stands for a trap that the processor refused.

use kernel::prelude::*;

#[kunit_tests(hcall_refused_trap)]
mod tests {
    use crate::abi::result::{decode_result, CallError, KVM_ENOSYS_RESULT};
    use crate::sdk::REFUSED_TRAP;

    #[test]
    fn no_host_answers_it() {
        assert_eq!(
            decode_result(REFUSED_TRAP),
            Err(CallError::Malformed(REFUSED_TRAP))
        );
        assert!(REFUSED_TRAP != KVM_ENOSYS_RESULT);
    }

    /// The exception table has 16 bits for it, with a sign.
    #[test]
    fn it_fits_an_exception_table_entry() {
        assert_eq!(i64::from(REFUSED_TRAP as i16), REFUSED_TRAP);
    }
}
