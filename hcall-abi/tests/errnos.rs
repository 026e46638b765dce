// SPDX-License-Identifier: MIT OR Apache-2.0
//! Errno values: range, names, printing.

use hcall_abi::Errno;
use std::collections::BTreeSet;

fn all() -> impl Iterator<Item = Errno> {
    (1..=Errno::MAX).filter_map(Errno::new)
}

#[test]
fn values_outside_the_range_are_none() {
    assert_eq!(Errno::new(0), None);
    assert_eq!(Errno::new(Errno::MAX + 1), None);
    assert_eq!(Errno::new(u16::MAX), None);
    assert_eq!(all().count(), usize::from(Errno::MAX));
}

#[test]
fn values_come_back() {
    assert!(all().map(Errno::get).eq(1..=Errno::MAX));
}

#[test]
fn names_are_distinct() {
    let names: Vec<&str> = all().filter_map(Errno::name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
}

/// Some that every programmer of Linux knows, against slips in the table.
#[test]
fn well_known_values() {
    for (errno, value, name) in [
        (Errno::EPERM, 1, "EPERM"),
        (Errno::EIO, 5, "EIO"),
        (Errno::ENOMEM, 12, "ENOMEM"),
        (Errno::EFAULT, 14, "EFAULT"),
        (Errno::EINVAL, 22, "EINVAL"),
        (Errno::ENOTTY, 25, "ENOTTY"),
        (Errno::ERANGE, 34, "ERANGE"),
        (Errno::ENOSYS, 38, "ENOSYS"),
        (Errno::ENODATA, 61, "ENODATA"),
        (Errno::EMSGSIZE, 90, "EMSGSIZE"),
        (Errno::EOPNOTSUPP, 95, "EOPNOTSUPP"),
        (Errno::ETIMEDOUT, 110, "ETIMEDOUT"),
    ] {
        assert_eq!(errno.get(), value);
        assert_eq!(errno.name(), Some(name));
    }
}

#[test]
fn a_name_is_printed_where_there_is_one() {
    assert_eq!(Errno::ENOSYS.to_string(), "ENOSYS: not implemented");
    assert_eq!(format!("{:?}", Errno::ENOSYS), "ENOSYS");
    let nameless = Errno::new(4095).unwrap();
    assert_eq!(nameless.to_string(), "errno 4095");
    assert_eq!(format!("{nameless:?}"), "Errno(4095)");
    assert_eq!(nameless.meaning(), "unknown error");
}
