// SPDX-License-Identifier: MIT OR Apache-2.0
//! Page tables of every shape of four levels; for many addresses the host says where they
//! lead, by KVM and by its own walk, and copies by them.
#![no_std]
#![no_main]

use core::arch::asm;
use core::cell::UnsafeCell;
use hcall_guest::unikernel::{entry, println};
use hcall_guest::{hcall1, hcall3, Errno};
use hcall_lab_contract::{ArgumentSequence, COMPARE, COPY_VIRTUAL};

entry!(main);

const ENTRIES: usize = 512;
const PAGE: u64 = 0x1000;

/// Bits of entries (SDM volume 3, 5.5).
const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USERS: u64 = 1 << 2;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;

/// CR0.WP.
const WRITE_PROTECT: u64 = 1 << 16;

/// Where the tables of this guest begin: the upper half of its addresses.
const OWN: u64 = 0xffff_8000_0000_0000;
/// The entry of the first table that leads there, and the one that leads to the table itself.
const OWN_INDEX: usize = 256;
const SELF_INDEX: usize = 510;

/// Where no memory is, below 4 GiB.
const HOLE: u64 = 0xd000_0000;
/// The guest's memory ends here.
const MEMORY_END: u64 = 256 << 20;

/// Addresses of each kind that are compared.
const ROUNDS: usize = 300;

#[repr(C, align(4096))]
struct Frame(UnsafeCell<[u64; ENTRIES]>);

// SAFETY: one vCPU, without interrupts.
unsafe impl Sync for Frame {}

impl Frame {
    const fn new() -> Self {
        Self(UnsafeCell::new([0; ENTRIES]))
    }

    /// The runtime maps every address to itself.
    fn address(&self) -> u64 {
        self.0.get() as u64
    }

    fn set(&self, index: usize, value: u64) {
        // SAFETY: no reference into the frame is kept, here or elsewhere; the processor and
        // the host read it as integers.
        unsafe {
            self.0
                .get()
                .cast::<u64>()
                .add(index % ENTRIES)
                .write_volatile(value)
        }
    }

    fn get(&self, index: usize) -> u64 {
        // SAFETY: as above.
        unsafe {
            self.0
                .get()
                .cast::<u64>()
                .add(index % ENTRIES)
                .read_volatile()
        }
    }
}

static POINTERS: Frame = Frame::new();
static DIRECTORY: Frame = Frame::new();
static TABLE: Frame = Frame::new();
/// Filled with anything.
static WILD: Frame = Frame::new();
static FIRST: Frame = Frame::new();
static SECOND: Frame = Frame::new();

fn main() {
    runtimes_addresses();
    let root = root();
    own_tables(root);
    let led = compare_all(OWN, "tables of its own");
    println!("{led} of {ROUNDS} random addresses of its own lead somewhere");
    wild_tables();
    copies();
    println!("addresses agree");
}

/// Whether the host says that it leads somewhere.
fn leads(gva: u64) -> bool {
    match hcall1(COMPARE, gva) {
        Ok(answer) => answer == 1,
        Err(error) => panic!("{gva:#x}: {error}"),
    }
}

fn runtimes_addresses() {
    for gva in [0, 1, 0x20_0000, MEMORY_END - 1, MEMORY_END, (4 << 30) - 1] {
        assert!(leads(gva), "{gva:#x}");
    }
    for gva in [4 << 30, 1 << 39, (1 << 47) - 1, OWN, u64::MAX] {
        assert!(!leads(gva), "{gva:#x}");
    }
}

fn root() -> u64 {
    let root: u64;
    // SAFETY: reading CR3 at CPL 0 changes nothing.
    unsafe { asm!("mov {}, cr3", out(reg) root, options(nomem, nostack)) };
    root
}

fn set_root_entry(root: u64, index: usize, value: u64) {
    // SAFETY: the runtime's first table is memory, mapped to itself and writable, and its
    // entries above the first are empty; nothing that this guest uses depends on them.
    unsafe { (root as *mut u64).add(index).write_volatile(value) };
}

/// One entry of each kind, and whether it leads somewhere.
fn own_tables(root: u64) {
    set_root_entry(
        root,
        OWN_INDEX,
        POINTERS.address() | PRESENT | WRITABLE | USERS,
    );
    set_root_entry(root, SELF_INDEX, root | PRESENT | WRITABLE);
    POINTERS.set(0, DIRECTORY.address() | PRESENT | WRITABLE | USERS);
    DIRECTORY.set(0, TABLE.address() | PRESENT | WRITABLE | USERS);
    TABLE.set(0, FIRST.address() | PRESENT | WRITABLE);
    TABLE.set(1, SECOND.address() | PRESENT | WRITABLE);
    TABLE.set(2, FIRST.address() | PRESENT);
    TABLE.set(3, FIRST.address() | WRITABLE);
    TABLE.set(4, HOLE | PRESENT | WRITABLE);
    TABLE.set(5, FIRST.address() | PRESENT | WRITABLE | NO_EXECUTE);
    for (index, due) in [true, true, true, false, true, false, false]
        .into_iter()
        .enumerate()
    {
        let gva = OWN + index as u64 * PAGE;
        assert_eq!(leads(gva + 0x123), due, "page {index} of the table");
    }
    let directory = [
        (HOLE | PRESENT, false),
        (PRESENT | LARGE | WRITABLE, true),
        (PRESENT | LARGE | 0x2000, false),
        (PRESENT | LARGE | NO_EXECUTE, false),
        (PRESENT | HOLE | LARGE, true),
        (WRITABLE | LARGE, false),
    ];
    for (index, (entry, due)) in (1..).zip(directory) {
        DIRECTORY.set(index, entry);
        let gva = OWN + ((index as u64) << 21);
        assert_eq!(
            leads(gva + 0x12_3456),
            due,
            "entry {entry:#x} of the directory"
        );
    }
    let pointers = [
        (HOLE | PRESENT, false),
        (PRESENT | LARGE | (1 << 29), false),
    ];
    for (index, (entry, due)) in (1..).zip(pointers) {
        POINTERS.set(index, entry);
        let gva = OWN + ((index as u64) << 30);
        assert_eq!(
            leads(gva + 0x1234_5678),
            due,
            "entry {entry:#x} of the pointers"
        );
    }
    // The tables as pages: the first as its own at every level, then one level less each.
    let own = 0xffff_0000_0000_0000
        | [39, 30, 21, 12]
            .into_iter()
            .fold(0, |sum, shift| sum | ((SELF_INDEX as u64) << shift));
    for gva in [own, ((own << 9) & !0xfff) | 0xffff_0000_0000_0000] {
        leads(gva);
    }
    assert!(leads(own), "the first table as a page");
    set_root_entry(root, OWN_INDEX + 1, POINTERS.address() | PRESENT | LARGE);
    assert!(!leads(OWN + (1 << 39)), "a reserved bit in the first table");
}

/// Compares random addresses from `base` on, most of them where entries were made; returns how
/// many lead somewhere.
fn compare_all(base: u64, what: &str) -> usize {
    let mut sequence = ArgumentSequence::new(base);
    let mut led = 0;
    for round in 0..ROUNDS {
        let [bits, kind, ..] = sequence.next_arguments(4);
        let width = [16, 24, 33, 39][(kind % 4) as usize];
        let gva = base + (bits & ((1 << width) - 1));
        match hcall1(COMPARE, gva) {
            Ok(answer) => led += answer as usize,
            Err(error) => panic!("{what}, round {round}, {gva:#x}: {error}"),
        }
    }
    led
}

/// Tables full of random bits: addresses of memory, but whatever flags.
fn wild_tables() {
    const FLAGS: u64 = 0xfff;
    let mut sequence = ArgumentSequence::new(7);
    let mut random = move || sequence.next_arguments(4)[0];
    DIRECTORY.set(0, WILD.address() | PRESENT | WRITABLE);
    let mut led = 0;
    for _ in 0..ROUNDS {
        let value = random();
        let index = (value >> 32) as usize % ENTRIES;
        WILD.set(
            index,
            (value % MEMORY_END) & !FLAGS | random() & FLAGS | random() & NO_EXECUTE,
        );
        // The directory itself, where no table of ours is needed.
        let place = 8 + index % 256;
        DIRECTORY.set(place, WILD.address() | random() & FLAGS);
        let table = OWN + ((index as u64) << 12);
        let directory = OWN + ((place as u64) << 21) + ((index as u64) << 12);
        led += usize::from(leads(table | value & FLAGS));
        led += usize::from(leads(directory | value & FLAGS));
    }
    assert_ne!(led, 0, "some of them lead somewhere");
    DIRECTORY.set(0, TABLE.address() | PRESENT | WRITABLE | USERS);
}

fn copy(to: u64, from: u64, length: u64) -> Result<u64, Option<Errno>> {
    hcall3(COPY_VIRTUAL, to, from, length).map_err(|error| error.errno())
}

/// From page to page, across pages, and where it may not be.
fn copies() {
    set_write_protect();
    TABLE.set(0, SECOND.address() | PRESENT | WRITABLE);
    TABLE.set(1, FIRST.address() | PRESENT | WRITABLE);
    TABLE.set(2, FIRST.address() | PRESENT);
    TABLE.set(3, 0);
    for index in 0..ENTRIES {
        FIRST.set(index, 0);
        SECOND.set(index, !0);
    }
    let text = *b"across the pages";
    let half = text.len() as u64 / 2;
    let across = OWN + PAGE - half;
    let source = text.as_ptr() as u64;
    assert_eq!(copy(across, source, 2 * half), Ok(2 * half));
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    assert_eq!(SECOND.get(ENTRIES - 1), word(&text[..8]));
    assert_eq!(FIRST.get(0), word(&text[8..]));
    let mut read = [0_u8; 16];
    assert_eq!(copy(read.as_mut_ptr() as u64, across, 16), Ok(16));
    // SAFETY: the host has written it, unseen by the compiler.
    let read = unsafe { core::ptr::read_volatile(&raw const read) };
    assert_eq!(read, text);

    let fault = Err(Some(Errno::EFAULT));
    let before = FIRST.get(ENTRIES - 1);
    // Into a page that may only be read, and one that is not there: nothing is written.
    assert_eq!(copy(OWN + 2 * PAGE - half, source, 2 * half), fault);
    assert_eq!(copy(OWN + 2 * PAGE, source, 1), fault);
    assert_eq!(copy(source, OWN + 3 * PAGE - half, 2 * half), fault);
    assert_eq!(copy(OWN + 4 * PAGE, 1 << 63, 8), fault);
    assert_eq!(FIRST.get(ENTRIES - 1), before);
}

fn set_write_protect() {
    // SAFETY: at CPL 0; the runtime's own pages are writable.
    unsafe {
        asm!(
            "mov {value}, cr0",
            "or {value}, {protect}",
            "mov cr0, {value}",
            value = out(reg) _,
            protect = const WRITE_PROTECT,
            options(nomem, nostack),
        );
    }
}
