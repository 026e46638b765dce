// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! What the host is told of a ring, and what of its answer is understood.

use kernel::prelude::*;

#[kunit_tests(hcall_ring)]
mod tests {
    use crate::abi::ioctl::{NumberRange, RANGES_MAX};
    use crate::abi::ring::{RingSetup, DOORBELL_MEMORY, DOORBELL_PORT};
    use crate::doorbell::Doorbell;
    use crate::ring::restrict;
    use kernel::prelude::*;

    fn ranges_for(allowed: Option<&[NumberRange]>) -> Result<RingSetup> {
        let mut setup = RingSetup::default();
        restrict(&mut setup, allowed)?;
        Ok(setup)
    }

    #[test]
    fn no_restriction_is_no_range() -> Result {
        assert_eq!(ranges_for(None)?.range_count, 0);
        Ok(())
    }

    /// No range would mean every number.
    #[test]
    fn nothing_allowed_is_a_range_without_usable_numbers() -> Result {
        let setup = ranges_for(Some(&[]))?;
        assert_eq!(setup.range_count, 1);
        assert!(setup.ranges[0] == NumberRange { first: 0, last: 0 });
        Ok(())
    }

    #[test]
    fn as_many_ranges_as_a_restriction_has() -> Result {
        let full = [NumberRange { first: 40, last: 50 }; RANGES_MAX as usize];
        let setup = ranges_for(Some(&full))?;
        assert_eq!(setup.range_count, RANGES_MAX);
        assert!(setup.ranges == full);
        let over = [NumberRange::default(); RANGES_MAX as usize + 1];
        assert!(ranges_for(Some(&over)).is_err());
        Ok(())
    }

    fn doorbell(kind: u32, address: u64) -> Doorbell {
        Doorbell::new(&RingSetup {
            doorbell_kind: kind,
            doorbell_address: address,
            ..RingSetup::default()
        })
    }

    #[test]
    fn a_doorbell_is_a_port() {
        assert!(doorbell(DOORBELL_PORT, 0xffff).is_usable());
        for unknown in [
            doorbell(DOORBELL_PORT, 0x1_0000),
            doorbell(DOORBELL_MEMORY, 0x1000),
            doorbell(0, 0),
            doorbell(u32::MAX, 0),
        ] {
            assert!(!unknown.is_usable());
            // Does nothing.
            unknown.ring();
        }
    }
}
