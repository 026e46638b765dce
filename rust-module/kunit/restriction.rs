// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! What is left of an open file's numbers.

use kernel::prelude::*;

#[kunit_tests(hcall_restriction)]
mod tests {
    use crate::abi::allow_list::AllowList;
    use crate::abi::ioctl::NumberRange;
    use crate::restriction::Restriction;
    use kernel::prelude::*;

    fn list(ranges: &[(u32, u32)]) -> Result<AllowList> {
        let mut array = [NumberRange::default(); 4];
        for (range, (first, last)) in array.iter_mut().zip(ranges) {
            *range = NumberRange {
                first: *first,
                last: *last,
            };
        }
        let ranges = array.get(..ranges.len()).ok_or(EINVAL)?;
        AllowList::new(ranges).map_err(|_| EINVAL)
    }

    fn unrestricted() -> Result<Pin<KBox<Restriction>>> {
        KBox::pin_init(Restriction::new(None), GFP_KERNEL)
    }

    #[test]
    fn without_one_everything_is_admitted() -> Result {
        let restriction = unrestricted()?;
        assert!(restriction.admits(0));
        assert!(restriction.admits(u32::MAX));
        assert!(restriction.current().is_none());
        Ok(())
    }

    #[test]
    fn it_can_be_there_from_the_start() -> Result {
        let first = list(&[(10, 20)])?;
        let restriction: Pin<KBox<Restriction>> =
            KBox::pin_init(Restriction::new(Some(&first)), GFP_KERNEL)?;
        assert_eq!(restriction.current(), Some(first));
        assert!(restriction.admits(10) && !restriction.admits(9));
        assert_eq!(restriction.narrow(AllowList::EVERYTHING), Err(EPERM));
        Ok(())
    }

    #[test]
    fn ends_of_ranges_are_admitted_and_their_neighbours_are_not() -> Result {
        let restriction = unrestricted()?;
        restriction.narrow(list(&[(10, 20), (30, 30)])?)?;
        for number in [10, 15, 20, 30] {
            assert!(restriction.admits(number));
        }
        for number in [0, 9, 21, 29, 31, u32::MAX] {
            assert!(!restriction.admits(number));
        }
        Ok(())
    }

    #[test]
    fn it_narrows_and_never_widens() -> Result {
        let restriction = unrestricted()?;
        restriction.narrow(list(&[(10, 20)])?)?;
        for wider in [list(&[(9, 20)])?, list(&[(10, 21)])?, list(&[(15, 15), (30, 30)])?] {
            assert_eq!(restriction.narrow(wider), Err(EPERM));
        }
        assert_eq!(restriction.narrow(AllowList::EVERYTHING), Err(EPERM));
        assert_eq!(restriction.current(), Some(list(&[(10, 20)])?));
        restriction.narrow(list(&[])?)?;
        assert!(!restriction.admits(15));
        Ok(())
    }

    #[test]
    fn what_is_held_does_not_change() -> Result {
        let restriction = unrestricted()?;
        let wanted = list(&[(10, 20)])?;
        assert!(restriction.hold().is_none());
        restriction.hold();
        assert_eq!(restriction.narrow(wanted), Err(EBUSY));
        restriction.release();
        assert_eq!(restriction.narrow(wanted), Err(EBUSY));
        restriction.release();
        restriction.narrow(wanted)?;
        assert_eq!(restriction.hold(), Some(wanted));
        Ok(())
    }
}
