// SPDX-License-Identifier: MIT OR Apache-2.0
//! The processor state in which the probe's guest begins: 64-bit mode, flat segments, the
//! first 2 MiB mapped to themselves. Only in this mode every transport can be tried.

use crate::protected_mode;
use hcall_abi::Gpa;
use kvm_bindings::kvm_sregs;

/// CR0.PG, CR4.PAE, EFER.LME and EFER.LMA (SDM volume 3, 2.5 and 2.2.1).
const PAGING: u64 = 1 << 31;
const PHYSICAL_ADDRESS_EXTENSION: u64 = 1 << 5;
const LONG_MODE_ENABLED: u64 = 1 << 8;
const LONG_MODE_ACTIVE: u64 = 1 << 10;

/// Bits of page-table entries: present, writable, and "maps 2 MiB".
const PRESENT_WRITABLE: u64 = 0b11;
const LARGE_PAGE: u64 = 1 << 7;

const TABLE_SIZE: u64 = 4096;

/// How many pages the tables take.
pub(crate) const TABLES: usize = 3;

/// The first entries of the tables, one after the other from `root` on, each with its
/// address; the other entries are zero.
pub(crate) fn tables(root: Gpa) -> [(Gpa, u64); TABLES] {
    let [first, second, third] = [0, 1, 2].map(|index| root.get() + index * TABLE_SIZE);
    [
        (Gpa::new(first), second | PRESENT_WRITABLE),
        (Gpa::new(second), third | PRESENT_WRITABLE),
        (Gpa::new(third), LARGE_PAGE | PRESENT_WRITABLE),
    ]
}

/// Changes `sregs`, as KVM gave them, to flat 64-bit mode with the tables at `root`.
pub(crate) fn enter(sregs: &mut kvm_sregs, root: Gpa) {
    protected_mode::enter(sregs);
    sregs.cs.l = 1;
    sregs.cs.db = 0;
    sregs.cr3 = root.get();
    sregs.cr4 |= PHYSICAL_ADDRESS_EXTENSION;
    sregs.efer |= LONG_MODE_ENABLED | LONG_MODE_ACTIVE;
    sregs.cr0 |= PAGING;
}
