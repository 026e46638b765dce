// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compares the special registers that a plugin's handler is told with this CPU's own, and has
//! it set some.
#![no_std]
#![no_main]

use core::arch::asm;
use hcall_guest::unikernel::{entry, println};
use hcall_guest::{hcall1, hcall2, Errno};
use hcall_lab_contract::{SET_SPECIAL, SPECIAL};

entry!(main);

/// The structure of `hcall_plugin.h`, of which this guest knows places and lengths.
const LENGTH: usize = 280;
const SEGMENT: usize = 24;
const SELECTOR: usize = 12;
const TYPE: usize = 14;
const PRESENT: usize = 15;
const LONG: usize = 19;
const SEGMENTS: [&str; 6] = ["cs", "ds", "es", "fs", "gs", "ss"];
const GDT: usize = 192;
const IDT: usize = 208;
const CONTROL: usize = 224;
const CR2: usize = CONTROL + 8;
const EFER: usize = CONTROL + 40;
const APIC_BASE: usize = CONTROL + 48;

/// Model-specific registers (SDM volume 4, 2.1).
const MSR_APIC_BASE: u32 = 0x1b;
const MSR_EFER: u32 = 0xc000_0080;

/// What a guest on SVM reads of its host's machine checks, in cr4, whatever its own is.
const MACHINE_CHECKS: u64 = 1 << 6;
/// Where cr4 stands among the control registers.
const CR4: usize = 3;

/// An efer without long mode, in which the code segment and the paging are.
const CONTRADICTION: u64 = 1 << 11;

fn main() {
    let told = ask();
    let word = |place: usize| u64::from_le_bytes(told[place..place + 8].try_into().expect("8"));
    let half = |place: usize| u16::from_le_bytes(told[place..place + 2].try_into().expect("2"));

    for (index, (name, own)) in SEGMENTS.into_iter().zip(selectors()).enumerate() {
        assert_eq!(half(index * SEGMENT + SELECTOR), own, "{name}");
    }
    // Code that was executed, of 64 bits (SDM volume 3, 3.4.5.1).
    assert_eq!(
        (told[TYPE] & 0b1001, told[PRESENT], told[LONG]),
        (0b1001, 1, 1)
    );
    for (name, place, (limit, base)) in [("gdt", GDT, gdt()), ("idt", IDT, idt())] {
        assert_eq!((half(place + 8), word(place)), (limit, base), "{name}");
    }
    for (index, own) in control().into_iter().enumerate() {
        let others = if index == CR4 { MACHINE_CHECKS } else { 0 };
        let told = word(CONTROL + index * 8);
        assert_eq!(told | others, own | others, "control register {index}");
    }
    assert_eq!(word(EFER), read_msr(MSR_EFER), "efer");
    assert_eq!(word(APIC_BASE), read_msr(MSR_APIC_BASE), "APIC base");

    let address = 0x1234_5678_9abc;
    assert_eq!(hcall2(SET_SPECIAL, address, 0), Ok(0));
    let [_, cr2, ..] = control();
    assert_eq!(cr2, address);
    let told = ask();
    assert_eq!(told[CR2..CR2 + 8], address.to_le_bytes());

    let refused = hcall2(SET_SPECIAL, 1, CONTRADICTION).expect_err("KVM refuses it");
    assert_eq!(refused.errno(), Some(Errno::EIO));
    assert_eq!(control()[1], address, "nothing is set");
    println!("special registers agree");
}

fn ask() -> [u8; LENGTH] {
    let mut registers = [0xff; LENGTH];
    let gpa = (&raw mut registers).expose_provenance() as u64;
    assert_eq!(hcall1(SPECIAL, gpa), Ok(LENGTH as u64));
    registers
}

fn selectors() -> [u16; 6] {
    let (cs, ds, es, fs, gs, ss): (u16, u16, u16, u16, u16, u16);
    // SAFETY: reads registers.
    unsafe {
        asm!(
            "mov {:x}, cs", "mov {:x}, ds", "mov {:x}, es",
            "mov {:x}, fs", "mov {:x}, gs", "mov {:x}, ss",
            out(reg) cs, out(reg) ds, out(reg) es, out(reg) fs, out(reg) gs, out(reg) ss,
            options(nomem, nostack, preserves_flags),
        );
    }
    [cs, ds, es, fs, gs, ss]
}

#[derive(Default)]
#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

fn gdt() -> (u16, u64) {
    let mut pointer = TablePointer::default();
    // SAFETY: stores ten bytes there.
    unsafe { asm!("sgdt [{}]", in(reg) &raw mut pointer, options(nostack, preserves_flags)) };
    (pointer.limit, pointer.base)
}

fn idt() -> (u16, u64) {
    let mut pointer = TablePointer::default();
    // SAFETY: stores ten bytes there.
    unsafe { asm!("sidt [{}]", in(reg) &raw mut pointer, options(nostack, preserves_flags)) };
    (pointer.limit, pointer.base)
}

/// cr0, cr2, cr3, cr4, cr8.
fn control() -> [u64; 5] {
    let (cr0, cr2, cr3, cr4, cr8): (u64, u64, u64, u64, u64);
    // SAFETY: at CPL 0; reads registers.
    unsafe {
        asm!(
            "mov {}, cr0", "mov {}, cr2", "mov {}, cr3", "mov {}, cr4", "mov {}, cr8",
            out(reg) cr0, out(reg) cr2, out(reg) cr3, out(reg) cr4, out(reg) cr8,
            options(nomem, nostack, preserves_flags),
        );
    }
    [cr0, cr2, cr3, cr4, cr8]
}

fn read_msr(number: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: at CPL 0; the processor has it.
    unsafe {
        asm!(
            "rdmsr",
            in("ecx") number, out("eax") low, out("edx") high,
            options(nomem, nostack, preserves_flags),
        );
    }
    (u64::from(high) << 32) | u64::from(low)
}
