// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every decision of `Host::detect`, made over CPUIDs that the test invents.

use hcall_guest::abi::convention::TrapInstruction;
use hcall_guest::abi::cpuid::{
    Advertisement, CpuidRegisters, Features, Limits, BASE_STEP, FIRST_BASE, HYPERVISOR_BIT,
};
use hcall_guest::abi::{AbiVersion, Transport, TransportSet, ABI_VERSION};
use hcall_guest::{DetectError, Host, Trap};

const BASE: u32 = FIRST_BASE + BASE_STEP;

const INSTRUCTION: TransportSet = TransportSet::EMPTY.with(Transport::Instruction);
const CARRIER: TransportSet = TransportSet::EMPTY.with(Transport::Carrier);
const PORT: TransportSet = TransportSet::EMPTY.with(Transport::Port);

/// A machine whose host offers `transports`, and what the guest has read of its CPUID.
struct Machine {
    vendor: [u8; 12],
    hypervisor_bit: u32,
    advertisement: Advertisement,
    looked_at: Vec<u32>,
}

impl Machine {
    fn offering(transports: TransportSet, preferred: Option<Transport>) -> Self {
        Self {
            vendor: *b"AuthenticAMD",
            hypervisor_bit: HYPERVISOR_BIT,
            advertisement: Advertisement {
                abi_version: ABI_VERSION,
                features: Features::CORE_CALLS,
                transports,
                preferred,
                limits: Limits::default(),
            },
            looked_at: Vec::new(),
        }
    }

    fn with_vendor(mut self, vendor: &[u8; 12]) -> Self {
        self.vendor = *vendor;
        self
    }

    fn with_version(mut self, version: u32) -> Self {
        self.advertisement.abi_version = AbiVersion::new(version);
        self
    }

    fn without_hypervisor_bit(mut self) -> Self {
        self.hypervisor_bit = 0;
        self
    }

    fn detect(&mut self) -> Result<Host, DetectError> {
        Host::detect(|leaf| {
            self.looked_at.push(leaf);
            match leaf {
                0 => vendor_leaf(self.vendor),
                1 => CpuidRegisters {
                    ecx: self.hypervisor_bit,
                    ..Default::default()
                },
                BASE..=0x4000_0103 => self.advertisement.leaves(BASE)[(leaf - BASE) as usize],
                _ => CpuidRegisters::default(),
            }
        })
    }

    fn trap(mut self) -> Result<Trap, DetectError> {
        self.detect().map(|host| host.trap)
    }
}

/// Leaf 0: the vendor stands in ebx, edx, ecx.
fn vendor_leaf(vendor: [u8; 12]) -> CpuidRegisters {
    let word = |at: usize| u32::from_le_bytes(vendor[at..at + 4].try_into().unwrap());
    CpuidRegisters {
        eax: 0x10,
        ebx: word(0),
        edx: word(4),
        ecx: word(8),
    }
}

fn both() -> TransportSet {
    INSTRUCTION.with(Transport::Port)
}

#[test]
fn a_host_is_reported_as_it_describes_itself() {
    let mut machine = Machine::offering(both(), Some(Transport::Instruction));
    let host = machine.detect().unwrap();
    assert_eq!(host.cpuid_base, BASE);
    assert_eq!(host.advertisement, machine.advertisement);
    assert_eq!(host.trap, Trap::Vmmcall);
}

#[test]
fn the_vendor_decides_between_vmmcall_and_vmcall() {
    for (vendor, trap) in [
        (b"AuthenticAMD", Trap::Vmmcall),
        (b"HygonGenuine", Trap::Vmmcall),
        (b"GenuineIntel", Trap::Vmcall),
        (b"  Shanghai  ", Trap::Vmcall),
        (b"CentaurHauls", Trap::Vmcall),
    ] {
        let machine = Machine::offering(INSTRUCTION, Some(Transport::Instruction));
        assert_eq!(machine.with_vendor(vendor).trap(), Ok(trap));
    }
}

#[test]
fn the_vendor_decides_the_carriers_instruction_too() {
    for (vendor, trap) in [
        (b"HygonGenuine", Trap::CarrierVmmcall),
        (b"CentaurHauls", Trap::CarrierVmcall),
    ] {
        let machine = Machine::offering(CARRIER, Some(Transport::Carrier));
        assert_eq!(machine.with_vendor(vendor).trap(), Ok(trap));
    }
}

#[test]
fn an_unknown_vendor_gets_no_instruction() {
    for vendor in [
        b"SomebodyElse",
        b"KVMKVMKVM\0\0\0",
        b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7\xf6\xf5\xf4",
    ] {
        for offered in [INSTRUCTION, CARRIER] {
            let machine = Machine::offering(offered, offered.preferred());
            assert_eq!(
                machine.with_vendor(vendor).trap(),
                Err(DetectError::Vendor(*vendor))
            );
        }
    }
}

#[test]
fn an_unknown_vendor_falls_back_to_the_port() {
    for preferred in [None, Some(Transport::Instruction), Some(Transport::Port)] {
        let offered = both().with(Transport::Carrier);
        let machine = Machine::offering(offered, preferred).with_vendor(b"SomebodyElse");
        assert_eq!(machine.trap(), Ok(Trap::Port));
    }
}

#[test]
fn the_vendor_does_not_matter_to_the_port() {
    let mut machine = Machine::offering(PORT, Some(Transport::Port)).with_vendor(b"SomebodyElse");
    assert_eq!(machine.detect().map(|host| host.trap), Ok(Trap::Port));
}

#[test]
fn no_hypervisor_bit_means_no_host_and_nothing_more_is_read() {
    let mut machine = Machine::offering(both(), None).without_hypervisor_bit();
    assert_eq!(machine.detect(), Err(DetectError::NoHost));
    assert_eq!(machine.looked_at, [1]);
}

#[test]
fn another_hypervisor_means_no_host() {
    let only_the_bit = |leaf| CpuidRegisters {
        ecx: if leaf == 1 { HYPERVISOR_BIT } else { 0 },
        ..Default::default()
    };
    assert_eq!(Host::detect(only_the_bit), Err(DetectError::NoHost));
}

#[test]
fn another_version_is_refused_before_any_transport_is_considered() {
    for version in [0, 2, u32::MAX] {
        let machine = Machine::offering(TransportSet::EMPTY, None).with_version(version);
        assert_eq!(
            machine.trap(),
            Err(DetectError::Version(AbiVersion::new(version)))
        );
    }
}

#[test]
fn a_version_mismatch_names_both_versions() {
    let error = Machine::offering(both(), None)
        .with_version(7)
        .trap()
        .unwrap_err();
    let message = error.to_string();
    for part in ["version 7", &format!("version {ABI_VERSION}")] {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[test]
fn the_preferred_transport_is_taken() {
    for (preferred, trap) in [
        (Transport::Instruction, Trap::Vmmcall),
        (Transport::Carrier, Trap::CarrierVmmcall),
        (Transport::Port, Trap::Port),
    ] {
        let offered = both().with(Transport::Carrier);
        assert_eq!(Machine::offering(offered, Some(preferred)).trap(), Ok(trap));
    }
}

#[test]
fn without_a_preference_the_order_is_instruction_carrier_port() {
    let all = both().with(Transport::Carrier);
    assert_eq!(Machine::offering(all, None).trap(), Ok(Trap::Vmmcall));
    let without_instruction = CARRIER.with(Transport::Port);
    assert_eq!(
        Machine::offering(without_instruction, None).trap(),
        Ok(Trap::CarrierVmmcall)
    );
    assert_eq!(Machine::offering(PORT, None).trap(), Ok(Trap::Port));
}

#[test]
fn what_is_preferred_but_not_offered_is_not_taken() {
    for (offered, preferred, trap) in [
        (PORT, Transport::Instruction, Trap::Port),
        (INSTRUCTION, Transport::Port, Trap::Vmmcall),
        (PORT, Transport::Carrier, Trap::Port),
        (INSTRUCTION, Transport::Carrier, Trap::Vmmcall),
    ] {
        assert_eq!(Machine::offering(offered, Some(preferred)).trap(), Ok(trap));
    }
}

#[test]
fn a_host_that_offers_nothing_usable_is_refused() {
    let unknown = TransportSet::from_bits(0xffff_fff8);
    for offered in [TransportSet::EMPTY, unknown] {
        for preferred in [None, Some(Transport::Instruction), Some(Transport::Port)] {
            assert_eq!(
                Machine::offering(offered, preferred).trap(),
                Err(DetectError::NoTransport(offered))
            );
        }
    }
}

#[test]
fn refusals_say_what_was_found() {
    for (error, parts) in [
        (DetectError::NoHost, ["CPUID", "signature"]),
        (
            DetectError::NoTransport(TransportSet::from_bits(8)),
            ["no transport", "0x8"],
        ),
        (
            DetectError::Vendor(*b"SomebodyElse"),
            ["SomebodyElse", "VMMCALL and VMCALL"],
        ),
        (DetectError::Vendor([0xff; 12]), ["not text", "vendor"]),
        (DetectError::Privilege(3), ["CPL 3", "/dev/hcall"]),
    ] {
        let message = error.to_string();
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }
}

#[test]
fn each_trap_belongs_to_its_transport() {
    for (trap, transport) in [
        (Trap::Vmmcall, Transport::Instruction),
        (Trap::Vmcall, Transport::Instruction),
        (Trap::CarrierVmmcall, Transport::Carrier),
        (Trap::CarrierVmcall, Transport::Carrier),
        (Trap::Port, Transport::Port),
    ] {
        assert_eq!(trap.transport(), transport);
    }
    assert_eq!(Trap::from(TrapInstruction::Vmmcall), Trap::Vmmcall);
    assert_eq!(Trap::from(TrapInstruction::Vmcall), Trap::Vmcall);
}

#[test]
fn each_trap_but_the_port_is_an_instruction() {
    for instruction in [TrapInstruction::Vmmcall, TrapInstruction::Vmcall] {
        assert_eq!(Trap::from(instruction).instruction(), Some(instruction));
        assert_eq!(Trap::carrier(instruction).instruction(), Some(instruction));
    }
    assert_eq!(Trap::Port.instruction(), None);
}
