// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guest is told: the block beside KVM's, and KVM's features masked.

use hcall_abi::cpuid::{Advertisement, CpuidRegisters, BASE_STEP, FIRST_BASE, LAST_BASE};
use hcall_abi::{Transport, TransportSet};
use hcall_vmm::cpuid::{advertise, CpuidError};
use kvm_bindings::{kvm_cpuid_entry2, CpuId, KVM_MAX_CPUID_ENTRIES};

/// PV_UNHALT, PV_SEND_IPI, PV_SCHED_YIELD, HC_MAP_GPA_RANGE, MIGRATION_CONTROL.
const BY_HYPERCALL: u32 = (1 << 7) | (1 << 11) | (1 << 13) | (1 << 16) | (1 << 17);

/// What the carrier takes.
const HC_MAP_GPA_RANGE: u32 = 1 << 16;

fn entry(function: u32, text: &[u8; 12]) -> kvm_cpuid_entry2 {
    let word = |at: usize| u32::from_le_bytes(text[at..at + 4].try_into().unwrap());
    kvm_cpuid_entry2 {
        function,
        eax: u32::MAX,
        ebx: word(0),
        ecx: word(4),
        edx: word(8),
        ..Default::default()
    }
}

/// What KVM supports, as far as it matters here.
fn kvm_cpuid() -> CpuId {
    CpuId::from_entries(&[
        kvm_cpuid_entry2 {
            function: 1,
            ..Default::default()
        },
        entry(FIRST_BASE, b"KVMKVMKVM\0\0\0"),
        entry(FIRST_BASE + 1, &[0; 12]),
    ])
    .unwrap()
}

fn advertisement(transports: TransportSet) -> Advertisement {
    hcall_vmm::HypercallHost::without_kvm(memory(), transports).advertisement()
}

fn memory() -> vm_memory::GuestMemoryMmap {
    vm_memory::GuestMemoryMmap::from_ranges(&[(vm_memory::GuestAddress(0), 4096)]).unwrap()
}

fn read(cpuid: &CpuId, leaf: u32) -> CpuidRegisters {
    let found = cpuid.as_slice().iter().find(|entry| entry.function == leaf);
    found.map_or_else(CpuidRegisters::default, |entry| CpuidRegisters {
        eax: entry.eax,
        ebx: entry.ebx,
        ecx: entry.ecx,
        edx: entry.edx,
    })
}

#[test]
fn guest_finds_what_the_host_advertised() {
    let offered = TransportSet::EMPTY
        .with(Transport::Instruction)
        .with(Transport::Port);
    let host = advertisement(offered);
    let mut cpuid = kvm_cpuid();
    let base = advertise(&mut cpuid, &host).unwrap();
    assert_eq!(base, FIRST_BASE + BASE_STEP);
    let found = Advertisement::find(|leaf| read(&cpuid, leaf));
    assert_eq!(found, Some((base, host)));
}

#[test]
fn features_by_hypercall_are_hidden_where_the_transport_takes_it() {
    for (transport, hidden) in [
        (Transport::Instruction, BY_HYPERCALL),
        (Transport::Carrier, HC_MAP_GPA_RANGE),
        (Transport::Port, 0),
    ] {
        let mut cpuid = kvm_cpuid();
        advertise(
            &mut cpuid,
            &advertisement(TransportSet::EMPTY.with(transport)),
        )
        .unwrap();
        assert_eq!(read(&cpuid, FIRST_BASE + 1).eax, !hidden, "{transport}");
        assert_eq!(
            read(&cpuid, FIRST_BASE).eax,
            u32::MAX,
            "the signature leaf is untouched"
        );
    }
}

#[test]
fn base_beside_several_other_hypervisors() {
    let mut cpuid = kvm_cpuid();
    cpuid
        .push(entry(FIRST_BASE + BASE_STEP, b"XenVMMXenVMM"))
        .unwrap();
    let host = advertisement(TransportSet::EMPTY.with(Transport::Port));
    assert_eq!(advertise(&mut cpuid, &host), Ok(FIRST_BASE + 2 * BASE_STEP));
}

/// KVM's signature in a leaf that begins no block: the last of all leaves among them, which
/// none follows.
#[test]
fn signature_anywhere_else_is_none() {
    let host = advertisement(TransportSet::EMPTY.with(Transport::Instruction));
    for leaf in [0, FIRST_BASE + 3, LAST_BASE + BASE_STEP, u32::MAX] {
        let entries = [
            entry(leaf, b"KVMKVMKVM\0\0\0"),
            entry(leaf.wrapping_add(1), &[0; 12]),
        ];
        let mut cpuid = CpuId::from_entries(&entries).unwrap();
        advertise(&mut cpuid, &host).unwrap();
        assert_eq!(
            read(&cpuid, leaf.wrapping_add(1)).eax,
            u32::MAX,
            "{leaf:#x}"
        );
    }
}

#[test]
fn no_room_is_an_error_that_changes_nothing() {
    let host = advertisement(TransportSet::EMPTY.with(Transport::Port));
    let bases: Vec<_> = (FIRST_BASE..=LAST_BASE)
        .step_by(BASE_STEP as usize)
        .map(|base| entry(base, b"SomebodyElse"))
        .collect();
    for (entries, expected) in [
        (bases, CpuidError::NoFreeBase),
        (
            vec![entry(0, &[0; 12]); KVM_MAX_CPUID_ENTRIES - 3],
            CpuidError::Full,
        ),
    ] {
        let mut cpuid = CpuId::from_entries(&entries).unwrap();
        let before = cpuid.clone();
        assert_eq!(advertise(&mut cpuid, &host), Err(expected));
        assert!(cpuid == before);
    }
}
