// SPDX-License-Identifier: MIT OR Apache-2.0
//! ACPI tables, by which an operating system learns of its CPUs and of the few devices
//! there are (Advanced Configuration and Power Interface Specification, version 6.5,
//! chapter 5). The crate `acpi_tables` would do, but for the Rust that it needs: 1.87.
//!
//! The machine is described as *hardware-reduced*: no fixed ACPI hardware, no 8259 and no
//! 8254 that a system would have to use. KVM has both all the same, for guests that do not
//! read these tables.
//!
//! | table | says |
//! |---|---|
//! | RSDP, XSDT | where the others are |
//! | MADT | a local APIC for each vCPU, with the vCPU's number; one I/O APIC |
//! | FADT | how the machine is reset and switched off; that VGA, CMOS clock and PS/2 are not there |
//! | DSDT | the vCPUs, the serial port with its interrupt, and the state "off" |

mod aml;

use super::super::config::VcpuCount;
use super::super::devices::{
    OFF_SLEEP_TYPE, PULSE_RESET, RESET_PORT, SERIAL_FIRST, SERIAL_IRQ, SERIAL_PORTS,
    SLEEP_CONTROL_PORT, SLEEP_STATUS_PORT,
};
use super::LoadError;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Where the RSDP is: at the start of the BIOS' memory, in which systems look for it that
/// are not told. The other tables follow.
pub(super) const RSDP: GuestAddress = GuestAddress(0xe_0000);
/// What the tables are aligned to.
const ALIGNMENT: usize = 16;

const LOCAL_APICS: u32 = 0xfee0_0000;
const IO_APIC: u32 = 0xfec0_0000;
/// Interrupt *n* is input *n* of the I/O APIC.
const FIRST_INTERRUPT: u32 = 0;

const OEM: [u8; 6] = *b"HCALL ";
const OEM_TABLE: [u8; 8] = *b"HCALLVMM";
const CREATOR: [u8; 4] = *b"HCAL";
/// Of the OEM's table and of its creator.
const REVISION: u32 = 1;

/// Length of the header that every table but the RSDP begins with, and in it the place of
/// the table's checksum.
const HEADER_SIZE: usize = 36;
const CHECKSUM: usize = 9;

/// Length of the RSDP, and how much of it its first version had, with a checksum of its own.
const RSDP_SIZE: usize = 36;
const RSDP_FIRST_SIZE: usize = 20;
const RSDP_CHECKSUM: usize = 8;
const RSDP_EXTENDED_CHECKSUM: usize = 32;

/// Writes the tables of a VM with `vcpus`.
pub(super) fn write(memory: &GuestMemoryMmap, vcpus: VcpuCount) -> Result<(), LoadError> {
    memory
        .write_slice(&tables(vcpus.get()), RSDP)
        .map_err(|_| LoadError::BootStructures)
}

/// The tables as they lie in memory from [`RSDP`] on.
fn tables(vcpus: u8) -> Vec<u8> {
    let mut placed = Placed::default();
    // The pointer comes first and is known last.
    placed.add(&[0; RSDP_SIZE]);
    let dsdt = placed.add(&dsdt(vcpus));
    let fadt = placed.add(&fadt(dsdt));
    let madt = placed.add(&madt(vcpus));
    let xsdt = placed.add(&table(
        *b"XSDT",
        1,
        &[fadt, madt].map(u64::to_le_bytes).concat(),
    ));
    let mut all = placed.0;
    all[..RSDP_SIZE].copy_from_slice(&rsdp(xsdt));
    all
}

/// Tables one after the other.
#[derive(Default)]
struct Placed(Vec<u8>);

impl Placed {
    /// Adds a table; returns its address.
    fn add(&mut self, table: &[u8]) -> u64 {
        self.0.resize(self.0.len().next_multiple_of(ALIGNMENT), 0);
        let address = RSDP.0 + self.0.len() as u64;
        self.0.extend_from_slice(table);
        address
    }
}

/// The header of a table, and its content.
fn table(signature: [u8; 4], revision: u8, content: &[u8]) -> Vec<u8> {
    let length = (HEADER_SIZE + content.len()) as u32;
    let mut bytes = signature.to_vec();
    bytes.extend(length.to_le_bytes());
    // The revision, and the checksum still to come.
    bytes.extend([revision, 0]);
    bytes.extend(OEM);
    bytes.extend(OEM_TABLE);
    bytes.extend(REVISION.to_le_bytes());
    bytes.extend(CREATOR);
    bytes.extend(REVISION.to_le_bytes());
    bytes.extend(content);
    bytes[CHECKSUM] = checksum(&bytes);
    bytes
}

/// What makes the sum of all bytes zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_sub(*byte))
}

fn rsdp(xsdt: u64) -> [u8; RSDP_SIZE] {
    const REVISION: u8 = 2;
    let mut bytes = [0; RSDP_SIZE];
    bytes[..8].copy_from_slice(b"RSD PTR ");
    bytes[9..15].copy_from_slice(&OEM);
    bytes[15] = REVISION;
    bytes[20..24].copy_from_slice(&(RSDP_SIZE as u32).to_le_bytes());
    bytes[24..32].copy_from_slice(&xsdt.to_le_bytes());
    bytes[RSDP_CHECKSUM] = checksum(&bytes[..RSDP_FIRST_SIZE]);
    bytes[RSDP_EXTENDED_CHECKSUM] = checksum(&bytes);
    bytes
}

fn madt(vcpus: u8) -> Vec<u8> {
    const REVISION: u8 = 5;
    /// Types of entries, each followed by its length.
    const LOCAL_APIC_ENTRY: [u8; 2] = [0, 8];
    const IO_APIC_ENTRY: [u8; 2] = [1, 12];
    const ENABLED: u32 = 1;
    let mut content = LOCAL_APICS.to_le_bytes().to_vec();
    // No flags: no 8259 beside the APICs.
    content.extend([0; 4]);
    for id in 0..vcpus {
        content.extend(LOCAL_APIC_ENTRY);
        // The processor's number in the DSDT, and its APIC's.
        content.extend([id, id]);
        content.extend(ENABLED.to_le_bytes());
    }
    content.extend(IO_APIC_ENTRY);
    content.extend([vcpus, 0]);
    content.extend(IO_APIC.to_le_bytes());
    content.extend(FIRST_INTERRUPT.to_le_bytes());
    table(*b"APIC", REVISION, &content)
}

/// What of the FADT says something about such a machine; the rest is zero.
fn fadt(dsdt: u64) -> Vec<u8> {
    const REVISION: u8 = 6;
    const MINOR_REVISION: u8 = 5;
    const SIZE: usize = 276;
    /// Neither VGA nor a CMOS clock. That the flag for a keyboard controller is not among
    /// them spares the guest a search for a keyboard.
    const NO_VGA: u16 = 1 << 2;
    const NO_CMOS_CLOCK: u16 = 1 << 5;
    /// The caches are as coherent as the host's.
    const WBINVD: u32 = 1;
    /// Buttons, if there are any, are not fixed hardware.
    const NO_FIXED_BUTTONS: u32 = (1 << 4) | (1 << 5);
    const RESET_REGISTER: u32 = 1 << 10;
    const HEADLESS: u32 = 1 << 12;
    const HARDWARE_REDUCED: u32 = 1 << 20;
    let flags = WBINVD | NO_FIXED_BUTTONS | RESET_REGISTER | HEADLESS | HARDWARE_REDUCED;

    let mut content = [0; SIZE - HEADER_SIZE];
    // Places are those in the whole table.
    let mut put = |place: usize, bytes: &[u8]| {
        let start = place - HEADER_SIZE;
        content[start..start + bytes.len()].copy_from_slice(bytes);
    };
    put(109, &(NO_VGA | NO_CMOS_CLOCK).to_le_bytes());
    put(112, &flags.to_le_bytes());
    put(116, &port(RESET_PORT));
    put(128, &[PULSE_RESET]);
    put(131, &[MINOR_REVISION]);
    put(140, &dsdt.to_le_bytes());
    put(244, &port(SLEEP_CONTROL_PORT));
    put(256, &port(SLEEP_STATUS_PORT));
    table(*b"FACP", REVISION, &content)
}

/// A register of one byte at a port, as a generic address.
fn port(port: u16) -> [u8; 12] {
    const IO_SPACE: u8 = 1;
    const BITS: u8 = 8;
    const BYTE_ACCESS: u8 = 1;
    let [low, high] = port.to_le_bytes();
    [IO_SPACE, BITS, 0, BYTE_ACCESS, low, high, 0, 0, 0, 0, 0, 0]
}

fn dsdt(vcpus: u8) -> Vec<u8> {
    /// The revision from which integers in AML have 64 bits.
    const REVISION: u8 = 2;
    let processors = (0..vcpus).flat_map(|id| {
        let named = [
            aml::name(*b"_HID", &aml::string("ACPI0007")),
            aml::name(*b"_UID", &aml::byte(id)),
        ];
        let digits = [b'C', b'0' + id / 100, b'0' + id / 10 % 10, b'0' + id % 10];
        aml::device(digits, &named.concat())
    });
    let serial = [
        aml::name(*b"_HID", &aml::PNP_16550),
        aml::name(*b"_UID", &aml::byte(0)),
        aml::name(
            *b"_CRS",
            &aml::resources(&[
                &aml::edge_interrupt(SERIAL_IRQ),
                &aml::ports(SERIAL_FIRST, SERIAL_PORTS),
            ]),
        ),
    ];
    let devices: Vec<u8> = processors
        .chain(aml::device(*b"COM1", &serial.concat()))
        .collect();
    // The sleep types of state S5, "off", and two that are reserved.
    let off = aml::package(&[OFF_SLEEP_TYPE, OFF_SLEEP_TYPE, 0, 0]);
    let content = [aml::scope(*b"_SB_", &devices), aml::name(*b"_S5_", &off)];
    table(*b"DSDT", REVISION, &content.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables of a VM with `vcpus`, from address 0xe_0000 on, as a guest finds them.
    fn written(vcpus: u8) -> Vec<u8> {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 2 << 20)]).unwrap();
        write(&memory, VcpuCount::new(vcpus).unwrap()).unwrap();
        let mut bytes = vec![0; 0x2_0000];
        memory
            .read_slice(&mut bytes, GuestAddress(0xe_0000))
            .unwrap();
        bytes
    }

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    fn address(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    /// The table at this address, by the length in its header; its sum is zero.
    fn table_at(memory: &[u8], address: u64) -> &[u8] {
        let start = usize::try_from(address - 0xe_0000).unwrap();
        assert_eq!(start % ALIGNMENT, 0);
        let table = &memory[start..];
        let table = &table[..word(table, 4) as usize];
        assert_eq!(sum(table), 0, "{:?}", &table[..4]);
        table
    }

    /// The table of this name that the XSDT names.
    fn find<'memory>(memory: &'memory [u8], name: &[u8; 4]) -> &'memory [u8] {
        assert_eq!(&memory[..8], b"RSD PTR ");
        assert_eq!((sum(&memory[..20]), sum(&memory[..36])), (0, 0));
        let xsdt = table_at(memory, address(memory, 24));
        assert_eq!(&xsdt[..4], b"XSDT");
        (36..xsdt.len())
            .step_by(8)
            .map(|at| table_at(memory, address(xsdt, at)))
            .find(|table| &table[..4] == name)
            .unwrap()
    }

    #[test]
    fn the_madt_names_every_apic() {
        for vcpus in [1, 4, 64] {
            let memory = written(vcpus);
            let madt = find(&memory, b"APIC");
            assert_eq!(word(madt, 36), 0xfee0_0000);
            let (mut at, mut local, mut io) = (44, Vec::new(), Vec::new());
            while at < madt.len() {
                let entry = &madt[at..at + usize::from(madt[at + 1])];
                match entry[0] {
                    0 => local.push((entry[2], entry[3], word(entry, 4))),
                    1 => io.push((entry[2], word(entry, 4), word(entry, 8))),
                    kind => panic!("an entry of type {kind}"),
                }
                at += entry.len();
            }
            let due: Vec<_> = (0..vcpus).map(|id| (id, id, 1)).collect();
            assert_eq!(local, due);
            assert_eq!(io, [(vcpus, 0xfec0_0000, 0)]);
        }
    }

    #[test]
    fn the_fadt_describes_a_machine_without_fixed_hardware() {
        let memory = written(1);
        let fadt = find(&memory, b"FACP");
        let flags = word(fadt, 112);
        assert_ne!(flags & (1 << 20), 0, "hardware-reduced");
        assert_ne!(flags & (1 << 10), 0, "reset register");
        // Neither VGA nor CMOS clock, and no flag for a keyboard controller.
        assert_eq!(fadt[109], 0b10_0100);
        // Each register: I/O space, 8 bits wide, accessed as a byte.
        let register = |port: u8, high| [1, 8, 0, 1, port, high, 0, 0, 0, 0, 0, 0];
        assert_eq!(fadt[116..128], register(0x64, 0));
        assert_eq!(fadt[128], 0xfe);
        assert_eq!(fadt[244..256], register(0x00, 0x06), "sleep control");
        assert_eq!(fadt[256..268], register(0x01, 0x06), "sleep status");
    }

    #[test]
    fn the_dsdt_has_every_processor_the_serial_port_and_the_way_off() {
        let memory = written(4);
        let dsdt = table_at(&memory, address(find(&memory, b"FACP"), 140));
        assert_eq!(&dsdt[..4], b"DSDT");
        let holds = |part: &[u8]| dsdt.windows(part.len()).any(|window| window == part);
        for name in [b"C000", b"C001", b"C002", b"C003", b"COM1", b"_S5_"] {
            assert!(holds(name), "{}", String::from_utf8_lossy(name));
        }
        assert!(!holds(b"C004"));
        // An edge-triggered interrupt 4, active high, of its own; ports 0x3f8 to 0x3ff.
        assert!(holds(&[0x89, 6, 0, 0b0011, 1, 4, 0, 0, 0]));
        assert!(holds(&[0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8]));
        // Name(_S5_, Package(4) { 5, 5, 0, 0 }).
        assert!(holds(&[
            b'_', b'S', b'5', b'_', 0x12, 8, 4, 0x0a, 5, 0x0a, 5, 0, 0
        ]));
    }

    #[test]
    fn the_most_vcpus_leave_room_for_the_reset_vector() {
        assert!(tables(VcpuCount::MAX.get()).len() < 0x1_fff0);
    }
}
