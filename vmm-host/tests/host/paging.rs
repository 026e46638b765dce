// SPDX-License-Identifier: MIT OR Apache-2.0
//! The page walk: what is mapped is found in every mode, what is not is said precisely, and no
//! tables are so broken that they are not answered.

use crate::page_tables::{
    levels, page_sizes, registers, PageTables, LARGE, MEMORY_BYTES, MODES, NO_EXECUTE,
    NO_EXECUTE_ENABLED, PRESENT, TABLES, USERS, WRITABLE, WRITE_PROTECT,
};
use hcall_abi::{Errno, Gpa};
use hcall_vmm::hypercall::Cpl;
use hcall_vmm::memory::CopyGuestMemory;
use hcall_vmm::paging::{Access, AddressSpace, ControlRegisters, Level, PageFault, PagingMode};
use proptest::prelude::*;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// An address that every mode has.
const GVA: u64 = 0x1234_5678;

/// As many address bits as an entry of the mode has.
fn address_limit(mode: PagingMode, level: Level) -> u64 {
    match (mode, level) {
        (PagingMode::Bits32Large, Level::Directory) => 1 << 40,
        (PagingMode::Bits32 | PagingMode::Bits32Large, _) => 1 << 32,
        _ => 1 << 52,
    }
}

/// `bits`, as an address of the mode.
fn address(mode: PagingMode, bits: u64) -> u64 {
    let canonical = |width: u32| ((bits << (64 - width)) as i64 >> (64 - width)) as u64;
    match mode {
        PagingMode::FourLevel => canonical(48),
        PagingMode::FiveLevel => canonical(57),
        _ => bits & 0xffff_ffff,
    }
}

#[test]
fn registers_say_the_mode() {
    for mode in MODES.into_iter().chain([PagingMode::Off]) {
        assert_eq!(AddressSpace::new(registers(mode)).mode(), mode);
    }
}

#[test]
fn without_paging_addresses_are_physical() {
    let tables = PageTables::new(PagingMode::Off);
    let page = tables.space().walk(&tables.memory, GVA).expect("it is one");
    assert_eq!((page.gpa(), page.size()), (Gpa::new(GVA), 4096));
    assert!(page.is_writable() && page.is_users() && page.is_executable());
    let beyond = tables.space().walk(&tables.memory, 1 << 32);
    assert_eq!(beyond, Err(PageFault::NoSuchAddress));
}

#[test]
fn addresses_that_a_mode_does_not_have() {
    let lowest_missing = [
        (PagingMode::Bits32, 1 << 32),
        (PagingMode::Bits32Large, 1 << 32),
        (PagingMode::Pae, 1 << 32),
        (PagingMode::FourLevel, 1 << 47),
        (PagingMode::FiveLevel, 1 << 56),
    ];
    for (mode, missing) in lowest_missing {
        let tables = PageTables::new(mode);
        let walk = |gva| tables.space().walk(&tables.memory, gva);
        let top = *levels(mode).first().expect("a level");
        assert_eq!(
            walk(missing - 1),
            Err(PageFault::NotPresent(top)),
            "{mode:?}"
        );
        assert_eq!(walk(missing), Err(PageFault::NoSuchAddress), "{mode:?}");
        let highest: u64 = match mode {
            PagingMode::FourLevel | PagingMode::FiveLevel => {
                assert_eq!(
                    walk(missing.wrapping_neg()),
                    Err(PageFault::NotPresent(top))
                );
                assert_eq!(walk(u64::MAX), Err(PageFault::NotPresent(top)));
                missing.wrapping_neg() - 1
            }
            _ => u64::MAX,
        };
        assert_eq!(walk(highest), Err(PageFault::NoSuchAddress), "{mode:?}");
    }
}

#[test]
fn an_entry_that_is_not_present_is_named_by_its_level() {
    for mode in MODES {
        for level in levels(mode) {
            let mut tables = PageTables::new(mode);
            let entry = tables.entry(GVA, *level);
            tables.write(entry, !PRESENT);
            let found = tables.space().walk(&tables.memory, GVA);
            assert_eq!(found, Err(PageFault::NotPresent(*level)), "{mode:?}");
        }
    }
}

#[test]
fn tables_outside_memory_are_named_by_their_level() {
    for mode in MODES {
        let mut tables = PageTables::new(mode);
        for level in levels(mode) {
            let outside = MEMORY_BYTES as u64;
            match levels(mode)
                .iter()
                .rev()
                .skip_while(|it| *it != level)
                .nth(1)
            {
                Some(upper) => {
                    let entry = tables.entry(GVA, *upper);
                    tables.write(entry, outside | PRESENT);
                }
                None => tables.registers.cr3 = outside,
            }
            let found = tables.space().walk(&tables.memory, GVA);
            assert!(
                matches!(
                    found,
                    Err(PageFault::TableOutsideMemory { level: at, gpa })
                        if at == *level && gpa.get() & !0xfff == outside
                ),
                "{mode:?}, {level}: {found:?}"
            );
            tables = PageTables::new(mode);
        }
    }
}

/// Mode, level, the further bits of the entry, and one that must not be there.
#[rustfmt::skip]
const RESERVED: [(PagingMode, Level, u64, u32); 22] = [
    (PagingMode::Bits32Large, Level::Directory, LARGE, 21),
    (PagingMode::Pae, Level::DirectoryPointers, 0, 1),
    (PagingMode::Pae, Level::DirectoryPointers, 0, 2),
    (PagingMode::Pae, Level::DirectoryPointers, 0, 6),
    (PagingMode::Pae, Level::DirectoryPointers, 0, 8),
    (PagingMode::Pae, Level::DirectoryPointers, 0, 52),
    (PagingMode::Pae, Level::DirectoryPointers, 0, 63),
    (PagingMode::Pae, Level::Directory, 0, 52),
    (PagingMode::Pae, Level::Directory, LARGE, 13),
    (PagingMode::Pae, Level::Directory, LARGE, 20),
    (PagingMode::Pae, Level::Table, 0, 62),
    (PagingMode::FourLevel, Level::Pml4, 0, 7),
    (PagingMode::FourLevel, Level::DirectoryPointers, LARGE, 13),
    (PagingMode::FourLevel, Level::DirectoryPointers, LARGE, 29),
    (PagingMode::FourLevel, Level::Directory, LARGE, 13),
    (PagingMode::FourLevel, Level::Directory, LARGE, 20),
    (PagingMode::FiveLevel, Level::Pml5, 0, 7),
    (PagingMode::FiveLevel, Level::Pml4, 0, 7),
    (PagingMode::FiveLevel, Level::DirectoryPointers, LARGE, 29),
    (PagingMode::FiveLevel, Level::DirectoryPointers, LARGE, 13),
    (PagingMode::FiveLevel, Level::Directory, LARGE, 13),
    (PagingMode::FiveLevel, Level::Directory, LARGE, 20),
];

#[test]
fn reserved_bits_are_refused_and_others_are_not() {
    for (mode, level, with, bit) in RESERVED {
        let mut tables = PageTables::new(mode);
        let place = tables.entry(GVA, level);
        let entry = PRESENT | with | (1 << bit);
        tables.write(place, entry);
        let found = tables.space().walk(&tables.memory, GVA);
        let due = PageFault::ReservedBit { level, entry };
        assert_eq!(found, Err(due), "{mode:?}, {level}, bit {bit}");
        // Without it, the walk goes on, and at most finds no table.
        tables.write(place, entry & !(1 << bit));
        let found = tables.space().walk(&tables.memory, GVA);
        assert!(
            !matches!(found, Err(PageFault::ReservedBit { .. })),
            "{mode:?}, {level}, without bit {bit}: {found:?}"
        );
    }
}

#[test]
fn no_execute_is_reserved_unless_it_is_enabled() {
    for mode in [
        PagingMode::Pae,
        PagingMode::FourLevel,
        PagingMode::FiveLevel,
    ] {
        let mut tables = PageTables::new(mode);
        tables.map(GVA, 0x3000, Level::Table, NO_EXECUTE);
        let page = tables.space().walk(&tables.memory, GVA).expect("mapped");
        assert!(!page.is_executable());
        tables.registers.efer &= !NO_EXECUTE_ENABLED;
        let found = tables.space().walk(&tables.memory, GVA);
        assert!(matches!(
            found,
            Err(PageFault::ReservedBit {
                level: Level::Table,
                ..
            })
        ));
    }
}

#[test]
fn without_large_pages_the_bit_means_nothing() {
    let mut tables = PageTables::new(PagingMode::Bits32);
    tables.map(GVA, 0x3000, Level::Table, 0);
    let directory = tables.entry(GVA, Level::Directory);
    tables.write(directory, (TABLES + 0x1000) | PRESENT | LARGE);
    let page = tables.space().walk(&tables.memory, GVA).expect("mapped");
    assert_eq!((page.gpa(), page.size()), (Gpa::new(0x3678), 4096));
}

#[test]
fn a_right_is_one_of_every_entry_on_the_way() {
    for mode in MODES {
        for level in levels(mode) {
            if (mode, *level) == (PagingMode::Pae, Level::DirectoryPointers) {
                continue; // It says no rights.
            }
            for (taken, writable, users) in [(WRITABLE, false, true), (USERS, true, false)] {
                let mut tables = PageTables::new(mode);
                tables.map(GVA, 0x3000, Level::Table, WRITABLE | USERS);
                let mut bytes = [0; 4];
                let place = tables.entry(GVA, *level);
                let memory = &tables.memory;
                memory
                    .read_slice(&mut bytes, GuestAddress(place))
                    .expect("it is memory");
                let entry = u32::from_le_bytes(bytes) & !(taken as u32);
                memory
                    .write_slice(&entry.to_le_bytes(), GuestAddress(place))
                    .expect("it is memory");
                let page = tables.space().walk(memory, GVA).expect("mapped");
                let rights = (page.is_writable(), page.is_users());
                assert_eq!(rights, (writable, users), "{mode:?}, {level}");
            }
        }
    }
}

#[test]
fn who_may_do_what() {
    let check = |bits, cpl, access, cr0| {
        let mut tables = PageTables::new(PagingMode::FourLevel);
        tables.registers.cr0 |= cr0;
        tables.map(GVA, 0x3000, Level::Table, bits);
        let page = tables.space().walk(&tables.memory, GVA).expect("mapped");
        let cpl = Cpl::from_low_bits(cpl);
        tables.space().check(&page, cpl, access)
    };
    for protect in [0, WRITE_PROTECT] {
        for cpl in 0..3 {
            assert_eq!(check(0, cpl, Access::Read, protect), Ok(()));
            assert_eq!(check(WRITABLE, cpl, Access::Write, protect), Ok(()));
            assert_eq!(check(USERS, cpl, Access::Read, protect), Ok(()));
        }
        let process = |bits, access| check(bits, 3, access, protect);
        for access in [Access::Read, Access::Write] {
            assert_eq!(process(WRITABLE, access), Err(PageFault::SupervisorOnly));
            assert_eq!(process(WRITABLE | USERS, access), Ok(()));
        }
        assert_eq!(process(USERS, Access::Read), Ok(()));
        assert_eq!(process(USERS, Access::Write), Err(PageFault::ReadOnly));
    }
    assert_eq!(check(0, 0, Access::Write, 0), Ok(()));
    let protected = check(0, 0, Access::Write, WRITE_PROTECT);
    assert_eq!(protected, Err(PageFault::ReadOnly));
}

/// An entry that leads to its own table: the tables are found as pages.
#[test]
fn tables_that_map_themselves_are_walked_like_others() {
    let mut tables = PageTables::new(PagingMode::FourLevel);
    let own = TABLES + 510 * 8;
    tables.write(own, TABLES | PRESENT | WRITABLE);
    let index = |shift: u32| 510_u64 << shift;
    let gva = 0xffff_0000_0000_0000 | index(39) | index(30) | index(21) | index(12);
    let page = tables.space().walk(&tables.memory, gva).expect("mapped");
    assert_eq!(page.gpa(), Gpa::new(TABLES));
    // As a PAE table of pointers, its entries are checked as such.
    tables.registers.efer = NO_EXECUTE_ENABLED;
    assert!(tables.space().walk(&tables.memory, 0).is_err());
}

#[test]
fn faults_are_efault_and_say_what_is_wrong() {
    let fault = PageFault::ReservedBit {
        level: Level::Directory,
        entry: 0x83,
    };
    assert_eq!(Errno::from(fault), Errno::EFAULT);
    assert_eq!(
        fault.to_string(),
        "the entry 0x83 in the page directory has a reserved bit set"
    );
}

fn any_mode() -> impl Strategy<Value = PagingMode> {
    prop::sample::select(&MODES)
}

proptest! {
    #[test]
    fn what_is_mapped_is_found(
        mode in any_mode(), size in any::<prop::sample::Index>(),
        gva in any::<u64>(), gpa in any::<u64>(),
        writable: bool, users: bool, executable: bool,
    ) {
        let (level, size) = page_sizes(mode)[size.index(page_sizes(mode).len())];
        let gva = address(mode, gva);
        let frame = (gpa % address_limit(mode, level)) & !(size - 1);
        let is_wide = !matches!(mode, PagingMode::Bits32 | PagingMode::Bits32Large);
        let bit = |present, bit| if present { bit } else { 0 };
        let bits = bit(writable, WRITABLE)
            | bit(users, USERS)
            | bit(is_wide && !executable, NO_EXECUTE);
        let mut tables = PageTables::new(mode);
        tables.map(gva, frame, level, bits);
        let page = tables.space().walk(&tables.memory, gva).expect("mapped");
        prop_assert_eq!(page.gpa(), Gpa::new(frame | (gva & (size - 1))));
        prop_assert_eq!(page.size(), size);
        prop_assert_eq!(page.remaining(), size - gva % size);
        prop_assert_eq!(page.is_writable(), writable);
        prop_assert_eq!(page.is_users(), users);
        prop_assert_eq!(page.is_executable(), executable || !is_wide);
        // Its neighbour is not.
        let neighbour = tables.space().walk(&tables.memory, gva ^ size);
        prop_assert_eq!(neighbour, Err(PageFault::NotPresent(level)));
    }

    #[test]
    fn any_tables_and_registers_are_answered(
        cr0: u64, cr3 in 0..0x1_0000_u64, cr4: u64, efer: u64, gva: u64,
        short in 0..u64::from(u32::MAX),
        mode in prop::option::of(any_mode()),
        entries in prop::collection::vec(any::<u64>(), 0x200),
        lead in prop::bool::weighted(0.8),
    ) {
        let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 0x1_0000)])
            .expect("the memory can be mapped");
        for (index, entry) in entries.iter().cycle().take(0x1_0000 / 8).enumerate() {
            // Mostly entries that lead on, in a circle sooner or later.
            let entry = if lead { entry & 0xf007 | PRESENT } else { *entry };
            memory.write_obj(entry, GuestAddress(8 * index as u64)).expect("it is memory");
        }
        let given = match mode {
            Some(mode) => ControlRegisters { cr3, ..registers(mode) },
            None => ControlRegisters { cr0, cr3, cr4, efer },
        };
        for gva in [gva, short, address(PagingMode::FourLevel, gva)] {
            let space = AddressSpace::new(given);
            if let Ok(page) = space.walk(&memory, gva) {
                prop_assert!(page.size().is_power_of_two());
                prop_assert_eq!(page.gpa().get() % page.size(), gva % page.size());
                prop_assert!(page.gpa().get() < 1 << 52);
                prop_assert!((1..=page.size()).contains(&page.remaining()));
                // The same again: nothing was changed.
                prop_assert_eq!(space.walk(&memory, gva), Ok(page));
            }
        }
        let mut first = [0; 8];
        CopyGuestMemory::read(&memory, Gpa::new(0), &mut first).expect("it is memory");
    }
}
