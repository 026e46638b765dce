// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the fuzzer begins with, where it would take long to find it: files, texts and tables
//! as they really are. What is fuzzed in a form of its own begins with nothing.

use crate::images::PREFIX;
use hcall_abi::cpuid::SIGNATURE;

/// Inputs by target and name.
pub fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    vec![
        ("allow_list", "all", b"\0all".to_vec()),
        ("allow_list", "none", b"\0none".to_vec()),
        (
            "allow_list",
            "list",
            b"\x000x48430000-0x48430003,7,0x48438000-1212383231".to_vec(),
        ),
        ("command_line", "qemu", lines(&QEMU)),
        ("command_line", "own", lines(&OWN)),
        ("control", "handlers", lines(&CONTROL)),
        (
            "control",
            "http",
            b"\x01GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        ),
        ("cpuid", "host", table()),
        ("elf", "pvh", guest(&pvh_image())),
        ("elf", "pvh-initrd", guest_with_initrd(&pvh_image())),
        ("multiboot", "elf", multiboot(0, &elf_image(&[]))),
        ("multiboot", "flat", multiboot(0x1_0000, &flat_image())),
        ("bzimage", "bzimage", guest(&bzimage())),
        ("bzimage", "bzimage-initrd", guest_with_initrd(&bzimage())),
    ]
}

const QEMU: [&str; 14] = [
    "-nodefaults",
    "-device",
    "isa-debug-exit,iobase=0xf4,iosize=0x4",
    "-vnc",
    "none",
    "-serial",
    "stdio",
    "-machine",
    "accel=kvm",
    "-kernel",
    "x86/msr.flat",
    "-append",
    "all",
    "--no-reboot",
];

const OWN: [&str; 8] = [
    "run",
    "guest.elf",
    "--append",
    "console=ttyS0",
    "-m512M",
    "--vcpus=4",
    "--transport=port",
    "-v",
];

const CONTROL: [&str; 6] = [
    r#"{"version":1,"command":"add","number":1212383240,"source":"value:42"}"#,
    r#"{"version":1,"command":"replace","number":1212383240,"source":"errno:EBUSY"}"#,
    r#"{"version":1,"command":"list"}"#,
    r#"{"version":1,"command":"remove","number":1212383240}"#,
    r#"{"version":1,"command":"metrics"}"#,
    r#"{"version":1,"command":"pause"}"#,
];

/// The first byte has the arguments read.
fn lines(arguments: &[&str]) -> Vec<u8> {
    [b"\0", arguments.join("\n").as_bytes()].concat()
}

/// An advertisement, a hypervisor bit, KVM's block and hcall's.
fn table() -> Vec<u8> {
    let mut bytes = vec![7, 1, 0, 0, 4, 0, 4, 0, 0, 1, 0];
    // The hypervisor leaf: registers of the table's own.
    bytes.extend([0x1e, 0]);
    bytes.extend([0; 8]);
    bytes.extend(0x8000_0000_u32.to_le_bytes());
    bytes.extend([0; 8]);
    for shape_and_block in [[4, 0], [0, 1]] {
        bytes.extend(shape_and_block);
        bytes.extend(0x4000_0103_u32.to_le_bytes());
    }
    debug_assert_eq!(SIGNATURE.len(), 12);
    bytes
}

/// An image for one vCPU, without an initramfs, with a short command line.
fn guest(image: &[u8]) -> Vec<u8> {
    let prefix: [u8; PREFIX] = [0, 2, 0, 0];
    [&prefix[..], image].concat()
}

/// The same with an initramfs of 4100 bytes.
fn guest_with_initrd(image: &[u8]) -> Vec<u8> {
    let prefix: [u8; PREFIX] = [3, 0, 4, 0x90];
    [&prefix[..], image].concat()
}

/// A Multiboot image whose header stands behind the ELF header.
fn multiboot(flags: u32, image: &[u8]) -> Vec<u8> {
    let mut bytes = guest(&0x200_u16.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes.extend(image);
    bytes
}

/// ELF for x86-64 with one segment at 1 MiB, and one with `note` if it is not empty.
fn elf_image(note: &[u8]) -> Vec<u8> {
    const HEADER: u64 = 64;
    const PROGRAM_HEADER: u64 = 56;
    let count = if note.is_empty() { 1 } else { 2 };
    let note_offset = HEADER + count * PROGRAM_HEADER;
    let mut image = b"\x7fELF\x02\x01\x01".to_vec();
    image.resize(16, 0);
    image.extend(2_u16.to_le_bytes());
    image.extend(62_u16.to_le_bytes());
    image.extend(1_u32.to_le_bytes());
    for word in [0x10_0000, HEADER, 0] {
        image.extend(word.to_le_bytes());
    }
    image.extend(0_u32.to_le_bytes());
    for half in [HEADER as u16, PROGRAM_HEADER as u16, count as u16, 0, 0, 0] {
        image.extend(half.to_le_bytes());
    }
    image.extend(program_header(1, 0, 0x10_0000, 0x400));
    if count == 2 {
        image.extend(program_header(4, note_offset, 0, note.len() as u64));
    }
    image.extend(note);
    image.resize(0x400, 0x90);
    image
}

fn program_header(kind: u32, offset: u64, address: u64, length: u64) -> Vec<u8> {
    let mut bytes = [kind.to_le_bytes(), 7_u32.to_le_bytes()].concat();
    for word in [offset, address, address, length, length, 0x1000] {
        bytes.extend(word.to_le_bytes());
    }
    bytes
}

/// The same with a note that names its PVH entry.
fn pvh_image() -> Vec<u8> {
    let words = [4_u32, 8, 18].map(u32::to_le_bytes).concat();
    elf_image(&[&words[..], b"Xen\0", &0x10_0000_u64.to_le_bytes()].concat())
}

/// Behind the Multiboot header: header, load, load end, end of bss, and entry.
fn flat_image() -> Vec<u8> {
    let mut image = vec![0; 0x400];
    let words = [0x10_0200_u32, 0x10_0000, 0, 0, 0x10_0000];
    image[0x20c..0x220].copy_from_slice(&words.map(u32::to_le_bytes).concat());
    image
}

/// A setup header of version 2.15, four sectors of setup, and a kernel of nothing.
fn bzimage() -> Vec<u8> {
    let mut image = vec![0; 0xc00];
    let mut put = |place: usize, bytes: &[u8]| {
        image[place..place + bytes.len()].copy_from_slice(bytes);
    };
    put(0x1f1, &[4]);
    put(0x1fe, &[0x55, 0xaa]);
    put(0x202, b"HdrS");
    put(0x206, &0x20f_u16.to_le_bytes());
    put(0x211, &[1]);
    put(0x214, &0x10_0000_u32.to_le_bytes());
    put(0x22c, &0x7fff_ffff_u32.to_le_bytes());
    put(0x258, &0x10_0000_u64.to_le_bytes());
    put(0x260, &0x1_0000_u32.to_le_bytes());
    image
}
