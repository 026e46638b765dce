// SPDX-License-Identifier: MIT OR Apache-2.0
//! The MP table, by which an operating system without ACPI finds the other CPUs and the
//! I/O APIC (Intel, "MultiProcessor Specification", version 1.4, chapter 4).
//!
//! It describes what KVM has: a local APIC for each vCPU with the vCPU's number as its id,
//! one I/O APIC whose input *n* is ISA interrupt *n*, and the old controllers at LINT0.

use super::super::config::VcpuCount;
use super::LoadError;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// In the BIOS' part of memory, where the table is looked for.
const POINTER: GuestAddress = GuestAddress(0xf_0000);
const POINTER_SIZE: usize = 16;

/// Version 1.4 of the specification.
const VERSION: u8 = 4;
const LOCAL_APIC: u32 = 0xfee0_0000;
const IO_APIC: u32 = 0xfec0_0000;
/// Versions that KVM's APICs report.
const LOCAL_APIC_VERSION: u8 = 0x14;
const IO_APIC_VERSION: u8 = 0x11;
const ISA_INTERRUPTS: u8 = 16;
const ISA_BUS: u8 = 0;
/// Every local APIC.
const ALL_APICS: u8 = 0xff;

/// Flags of a processor: it can be used, it boots.
const USABLE: u8 = 1;
const BOOTS: u8 = 2;
/// An I/O APIC that can be used.
const IO_APIC_USABLE: u8 = 1;

/// Kinds of interrupts.
const VECTORED: u8 = 0;
const NON_MASKABLE: u8 = 1;
const EXTERNAL: u8 = 3;

/// Writes the table of a VM with `count` vCPUs; one alone needs none.
pub(super) fn write(memory: &GuestMemoryMmap, count: VcpuCount) -> Result<(), LoadError> {
    if count == VcpuCount::ONE {
        return Ok(());
    }
    let table_address = POINTER.0 as u32 + POINTER_SIZE as u32;
    let bytes = [pointer(table_address).to_vec(), table(count.get())].concat();
    memory
        .write_slice(&bytes, POINTER)
        .map_err(|_| LoadError::BootStructures)
}

/// The floating pointer structure.
fn pointer(table: u32) -> [u8; POINTER_SIZE] {
    let mut bytes = [0; POINTER_SIZE];
    bytes[..4].copy_from_slice(b"_MP_");
    bytes[4..8].copy_from_slice(&table.to_le_bytes());
    bytes[8] = (POINTER_SIZE / 16) as u8;
    bytes[9] = VERSION;
    bytes[10] = checksum(&bytes);
    bytes
}

/// The configuration table: its header, then its entries, ordered by their type.
fn table(cpus: u8) -> Vec<u8> {
    let io_apic = cpus;
    let mut entries: Vec<Vec<u8>> = (0..cpus).map(processor).collect();
    entries.push([&[1, ISA_BUS][..], b"ISA   "].concat());
    let address = IO_APIC.to_le_bytes();
    entries.push([&[2, io_apic, IO_APIC_VERSION, IO_APIC_USABLE][..], &address].concat());
    for interrupt in 0..ISA_INTERRUPTS {
        let line = [interrupt, io_apic, interrupt];
        entries.push(interrupt_entry(3, VECTORED, line));
    }
    entries.push(interrupt_entry(4, EXTERNAL, [0, ALL_APICS, 0]));
    entries.push(interrupt_entry(4, NON_MASKABLE, [0, ALL_APICS, 1]));
    with_header(&entries)
}

fn with_header(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"PCMP\0\0".to_vec();
    bytes.extend([VERSION, 0]);
    bytes.extend(b"HCALL   ");
    bytes.extend(b"HCALL-VMM   ");
    // No table of the manufacturer's: its address and size.
    bytes.extend([0; 6]);
    bytes.extend((entries.len() as u16).to_le_bytes());
    bytes.extend(LOCAL_APIC.to_le_bytes());
    // No extended entries: their size and checksum, and a reserved byte.
    bytes.extend([0; 4]);
    bytes.extend(entries.concat());
    let length = bytes.len() as u16;
    bytes[4..6].copy_from_slice(&length.to_le_bytes());
    bytes[7] = checksum(&bytes);
    bytes
}

/// CPUID says the rest, so signature and features stay zero.
fn processor(id: u8) -> Vec<u8> {
    let flags = if id == 0 { USABLE | BOOTS } else { USABLE };
    let mut bytes = vec![0, id, LOCAL_APIC_VERSION, flags];
    bytes.resize(20, 0);
    bytes
}

/// An entry of `entry_type` for an interrupt of the bus with its line, the APIC it goes to
/// and its input there; polarity and trigger are the bus' own.
fn interrupt_entry(entry_type: u8, kind: u8, [line, apic, input]: [u8; 3]) -> Vec<u8> {
    vec![entry_type, kind, 0, 0, ISA_BUS, line, apic, input]
}

/// What makes the sum of all bytes zero.
fn checksum(bytes: &[u8]) -> u8 {
    0u8.wrapping_sub(sum(bytes))
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: usize = 2 << 20;

    fn written(count: u8) -> Vec<u8> {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]).unwrap();
        write(&memory, VcpuCount::new(count).unwrap()).unwrap();
        let mut bytes = vec![0; 0x1_0000];
        memory.read_slice(&mut bytes, POINTER).unwrap();
        bytes
    }

    #[test]
    fn pointer_and_table_are_found_and_sum_to_zero() {
        for count in [2, 4, 64] {
            let bytes = written(count);
            assert_eq!(&bytes[..4], b"_MP_");
            assert_eq!(sum(&bytes[..POINTER_SIZE]), 0);
            let address = u32::from_le_bytes(bytes[4..8].try_into().unwrap());
            let table = &bytes[address as usize - POINTER.0 as usize..];
            assert_eq!(&table[..4], b"PCMP");
            let length = usize::from(u16::from_le_bytes([table[4], table[5]]));
            assert_eq!(sum(&table[..length]), 0);
            assert!(table[length..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn the_entries_fill_the_table_and_name_every_apic() {
        let table = table(4);
        let count = u16::from_le_bytes([table[34], table[35]]);
        let (mut at, mut entries, mut cpus) = (44, 0, Vec::new());
        while at < table.len() {
            if table[at] == 0 {
                cpus.push((table[at + 1], table[at + 3]));
            }
            at += if table[at] == 0 { 20 } else { 8 };
            entries += 1;
        }
        assert_eq!((at, entries), (table.len(), count));
        assert_eq!(cpus, [(0, 3), (1, 1), (2, 1), (3, 1)]);
    }

    #[test]
    fn one_cpu_needs_no_table() {
        assert!(written(1).iter().all(|byte| *byte == 0));
    }
}
