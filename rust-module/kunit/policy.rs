// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! Which numbers a process may call, and with whose memory.

use kernel::prelude::*;

#[kunit_tests(hcall_policy)]
mod tests {
    use crate::abi::number::{self, HypercallNumber};
    use crate::parameters;
    use crate::policy::{admit, Address};
    use kernel::prelude::*;

    fn decide(number: u32, address: Address) -> Result<u32> {
        let number = HypercallNumber::new(number).map_err(|_| EPERM)?;
        admit(number, address)?;
        Ok(number.get())
    }

    /// What is due for memory that the process named.
    fn only_if_raw(number: HypercallNumber) -> Result<u32> {
        if parameters::allow_raw_gpa() {
            Ok(number.get())
        } else {
            Err(EPERM)
        }
    }

    #[test]
    fn numbers_of_kvm_xen_and_hyperv_are_refused() {
        for number in Iterator::chain(0..=number::KVM_LAST, number::XEN_NUMBERS) {
            assert_eq!(decide(number, Address::Process), Err(EPERM));
            assert_eq!(decide(number, Address::Kernel(0)), Err(EPERM));
        }
        for number in [number::HYPERV_BIT, number::HYPERV_BIT | number::USER_FIRST, u32::MAX] {
            assert_eq!(decide(number, Address::Process), Err(EPERM));
        }
    }

    #[test]
    fn numbers_of_a_vmm_are_admitted() {
        for number in [13, 33, 0x3000, number::USER_FIRST, number::USER_LAST] {
            assert_eq!(decide(number, Address::Process), Ok(number));
            assert_eq!(decide(number, Address::Kernel(2)), Ok(number));
        }
    }

    #[test]
    fn memory_that_a_process_names_is_refused() {
        for (number, _) in number::CORE_CALLS {
            if number.takes_gpa() {
                assert_eq!(decide(number.get(), Address::Process), only_if_raw(number));
            }
        }
        assert_eq!(decide(number::ECHO.get(), Address::Process), Ok(number::ECHO.get()));
    }

    #[test]
    fn memory_of_the_kernel_is_admitted_where_the_call_takes_it() {
        let time = number::TIME;
        assert_eq!(time.gpa_index(), Some(1));
        assert_eq!(decide(time.get(), Address::Kernel(1)), Ok(time.get()));
        assert_eq!(decide(time.get(), Address::Kernel(0)), only_if_raw(time));
        let batch = number::BATCH;
        assert_eq!(decide(batch.get(), Address::Kernel(0)), only_if_raw(batch));
    }
}
