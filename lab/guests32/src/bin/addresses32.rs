// SPDX-License-Identifier: MIT OR Apache-2.0
//! Turns on each kind of paging that 32-bit protected mode has, one after the other; for many
//! addresses the host says where they lead, by KVM and by its own walk.
#![no_std]
#![no_main]

use core::arch::asm;
use core::cell::UnsafeCell;
use hcall_guest::hcall1;
use hcall_guest::unikernel::{entry, println};
use hcall_lab_contract::{ArgumentSequence, COMPARE};

entry!(main);

/// Bits of entries (SDM volume 3, 5.3 and 5.4).
const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;

/// CR0.PG, CR4.PSE and CR4.PAE.
const PAGING: u32 = 1 << 31;
const PAGE_SIZE_EXTENSION: u32 = 1 << 4;
const PHYSICAL_ADDRESS_EXTENSION: u32 = 1 << 5;

/// The first tables map this much to itself, by pages of every size that there is; this guest
/// lies in it.
const IDENTITY: u32 = 16 << 20;
/// Where no memory is.
const HOLE: u64 = 0xd000_0000;

/// Addresses of each kind of paging that are compared.
const ROUNDS: usize = 200;

const WORDS: usize = 1024;

#[repr(C, align(4096))]
struct Frame(UnsafeCell<[u32; WORDS]>);

// SAFETY: one vCPU, without interrupts.
unsafe impl Sync for Frame {}

impl Frame {
    const fn new() -> Self {
        Self(UnsafeCell::new([0; WORDS]))
    }

    fn address(&self) -> u64 {
        self.0.get() as usize as u64
    }

    fn clear(&self) {
        for index in 0..WORDS {
            self.set_word(index, 0);
        }
    }

    fn set_word(&self, index: usize, value: u32) {
        // SAFETY: no reference into the frame is kept, here or elsewhere; the processor and
        // the host read it as integers.
        unsafe {
            self.0
                .get()
                .cast::<u32>()
                .add(index % WORDS)
                .write_volatile(value)
        }
    }

    /// Entry `index`, of 32 bits.
    fn set(&self, index: usize, value: u64) {
        self.set_word(index, value as u32);
    }

    /// Entry `index`, of 64 bits.
    fn set_wide(&self, index: usize, value: u64) {
        self.set_word(2 * index, value as u32);
        self.set_word(2 * index + 1, (value >> 32) as u32);
    }
}

/// The first table, or PAE's four directories.
static DIRECTORIES: [Frame; 4] = [const { Frame::new() }; 4];
static POINTERS: Frame = Frame::new();
/// Of the first 16 MiB, in pages of 4 KiB: as many as the entries are small.
static TABLES: [Frame; 8] = [const { Frame::new() }; 8];

fn main() {
    for gva in [0, 0x12_3456, HOLE as u32, u32::MAX] {
        assert!(leads(gva), "without paging, {gva:#x}");
    }
    small();
    large();
    wide();
    println!("addresses of 32 bits agree");
}

/// Whether the host says that it leads somewhere.
fn leads(gva: u32) -> bool {
    match hcall1(COMPARE, gva.into()) {
        Ok(answer) => answer == 1,
        Err(error) => panic!("{gva:#x}: {error}"),
    }
}

/// Turns paging on, checks `due`, compares random addresses, and turns it off.
fn page(kind: &str, root: u64, features: u32, due: &[(u32, bool)]) {
    println!("{kind}");
    // SAFETY: the tables at `root` map all that this guest uses to itself.
    unsafe { turn_on(root as u32, features) };
    for (gva, due) in due {
        assert_eq!(leads(*gva), *due, "{kind}, {gva:#x}");
    }
    let mut sequence = ArgumentSequence::new(features.into());
    for _ in 0..ROUNDS {
        let [bits, width, ..] = sequence.next_arguments(4);
        leads((bits >> (32 + width % 16)) as u32);
    }
    // SAFETY: without paging, all addresses lead to themselves, as those in use did.
    unsafe { turn_off() };
}

/// The first 16 MiB in pages of 4 KiB.
fn fill_tables(entries: usize, set: impl Fn(&Frame, usize, u64)) {
    for (table, frame) in TABLES.iter().enumerate().take(WORDS * 4 / entries) {
        for index in 0..entries {
            let page = (table * entries + index) as u64;
            set(frame, index, (page << 12) | PRESENT | WRITABLE);
        }
    }
}

/// Bits that the tables may lack: the page at 15 MiB is not there, and none above 16 MiB but
/// what is said here.
fn small() {
    DIRECTORIES[0].clear();
    fill_tables(1024, Frame::set);
    for (index, table) in TABLES.iter().enumerate().take(4) {
        DIRECTORIES[0].set(index, table.address() | PRESENT | WRITABLE);
    }
    TABLES[3].set(0x300, 0xf0_0000);
    DIRECTORIES[0].set(4, HOLE | PRESENT);
    // Without large pages, the bit means nothing.
    DIRECTORIES[0].set(5, TABLES[0].address() | PRESENT | LARGE);
    let due = [
        (0x10_0000, true),
        (0xf0_0123, false),
        (0xf0_1000, true),
        (IDENTITY, false),
        (5 << 22, true),
        (6 << 22, false),
    ];
    page("32 bits", DIRECTORIES[0].address(), 0, &due);
}

fn large() {
    DIRECTORIES[0].set(5, (1 << 22) | PRESENT | LARGE | WRITABLE);
    DIRECTORIES[0].set(6, (1 << 22) | PRESENT | LARGE | (1 << 21));
    // Above 4 GiB (PSE-36).
    DIRECTORIES[0].set(7, PRESENT | LARGE | (1 << 13));
    let due = [
        (0xf0_0123, false),
        ((5 << 22) + 0x12_3456, true),
        (6 << 22, false),
        (7 << 22, true),
    ];
    page(
        "32 bits, large",
        DIRECTORIES[0].address(),
        PAGE_SIZE_EXTENSION,
        &due,
    );
}

fn wide() {
    fill_tables(512, Frame::set_wide);
    DIRECTORIES.iter().for_each(Frame::clear);
    for (index, table) in TABLES.iter().enumerate() {
        DIRECTORIES[0].set_wide(index, table.address() | PRESENT | WRITABLE);
    }
    for (index, directory) in DIRECTORIES.iter().enumerate().take(3) {
        POINTERS.set_wide(index, directory.address() | PRESENT);
    }
    TABLES[7].set_wide(0x100, 0xf0_0000);
    DIRECTORIES[1].set_wide(0, (1 << 21) | PRESENT | LARGE);
    DIRECTORIES[1].set_wide(1, (1 << 21) | PRESENT | LARGE | (1 << 13));
    DIRECTORIES[1].set_wide(2, HOLE | PRESENT);
    DIRECTORIES[1].set_wide(3, TABLES[0].address() | PRESENT | (1 << 63));
    let due = [
        (0x10_0000, true),
        (0xf0_0123, false),
        ((1 << 30) + 0x12_3456, true),
        ((1 << 30) + (1 << 21), false),
        ((1 << 30) + (2 << 21), false),
        ((1 << 30) + (3 << 21), false),
        (2 << 30, false),
        (3 << 30, false),
        (u32::MAX, false),
    ];
    page("PAE", POINTERS.address(), PHYSICAL_ADDRESS_EXTENSION, &due);
}

/// # Safety
///
/// The tables map all that this guest uses to itself.
unsafe fn turn_on(root: u32, features: u32) {
    // SAFETY: at CPL 0; the caller vouches for the tables.
    unsafe {
        asm!(
            "mov cr3, {root}",
            "mov {value}, cr4",
            "and {value}, {others}",
            "or {value}, {features}",
            "mov cr4, {value}",
            "mov {value}, cr0",
            "or {value}, {paging}",
            "mov cr0, {value}",
            root = in(reg) root,
            features = in(reg) features,
            value = out(reg) _,
            others = const !(PAGE_SIZE_EXTENSION | PHYSICAL_ADDRESS_EXTENSION),
            paging = const PAGING,
            options(nostack),
        );
    }
}

/// # Safety
///
/// All that this guest uses is mapped to itself.
unsafe fn turn_off() {
    // SAFETY: at CPL 0; the caller vouches for the addresses.
    unsafe {
        asm!(
            "mov {value}, cr0",
            "and {value}, {others}",
            "mov cr0, {value}",
            value = out(reg) _,
            others = const !PAGING,
            options(nostack),
        );
    }
}
