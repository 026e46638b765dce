// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest makes of a hostile host's CPUID, and what a host makes of any table that its
//! block is added to.

use crate::input::Input;
use hcall_abi::cpuid::{
    Advertisement, CpuidRegisters, Features, Limits, BASE_STEP, FIRST_BASE, HYPERVISOR_BIT,
    HYPERVISOR_LEAF, LAST_BASE, SIGNATURE,
};
use hcall_abi::{Transport, TransportSet, ABI_VERSION};
use hcall_guest::Host;
use kvm_bindings::{kvm_cpuid_entry2, CpuId};

/// Most entries of a table.
const ENTRIES: usize = 24;

/// A table: a guest looks for a host in it, and a host adds itself to it.
pub fn cpuid(data: &[u8]) {
    let mut input = Input::new(data);
    let advertised = advertisement(&mut input);
    let mut entries = Vec::new();
    while !input.is_empty() && entries.len() < ENTRIES {
        entries.push(entry(&mut input));
    }
    detect(&entries);
    let mut table = CpuId::from_entries(&entries).expect("there is room for them");
    let Ok(base) = hcall_vmm::cpuid::advertise(&mut table, &advertised) else {
        return assert_eq!(
            table.as_slice(),
            &entries[..],
            "a failure changed the table"
        );
    };
    assert!((FIRST_BASE..=LAST_BASE).contains(&base) && base % BASE_STEP == 0);
    let look = |leaf| registers(table.as_slice(), leaf);
    // One that stands before ours, and looks like ours, is found first.
    let impostor = (FIRST_BASE..base).step_by(BASE_STEP as usize);
    let hidden = impostor
        .into_iter()
        .any(|base| look(base).signature() == SIGNATURE);
    let has_hypervisor_leaf = entries
        .iter()
        .any(|entry| entry.function == HYPERVISOR_LEAF);
    if !hidden && has_hypervisor_leaf {
        assert_eq!(Advertisement::find(look), Some((base, advertised)));
    }
}

fn detect(entries: &[kvm_cpuid_entry2]) {
    match Host::detect(|leaf| registers(entries, leaf)) {
        Ok(host) => {
            assert_eq!(registers(entries, host.cpuid_base).signature(), SIGNATURE);
            assert_ne!(registers(entries, HYPERVISOR_LEAF).ecx & HYPERVISOR_BIT, 0);
            assert_eq!(host.advertisement.abi_version, ABI_VERSION);
            let offered = host.advertisement.transports;
            assert!(offered.contains(host.trap.transport()), "never offered");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// What the processor says for `leaf`.
fn registers(entries: &[kvm_cpuid_entry2], leaf: u32) -> CpuidRegisters {
    let entry = entries.iter().find(|entry| entry.function == leaf);
    entry.map_or_else(CpuidRegisters::default, |entry| CpuidRegisters {
        eax: entry.eax,
        ebx: entry.ebx,
        ecx: entry.ecx,
        edx: entry.edx,
    })
}

fn advertisement(input: &mut Input<'_>) -> Advertisement {
    let transports = TransportSet::from_bits(input.u8().into());
    Advertisement {
        abi_version: ABI_VERSION,
        features: Features::from_bits(input.u8().into()),
        transports,
        preferred: Transport::from_raw(input.u8().into()),
        limits: Limits {
            batch_entries: input.u16().into(),
            ring_entries: input.u16().into(),
            buffer_bytes: input.u32(),
        },
    }
}

fn entry(input: &mut Input<'_>) -> kvm_cpuid_entry2 {
    let shape = input.u8();
    let block = FIRST_BASE + BASE_STEP * u32::from(input.u8());
    let function = match shape % 4 {
        0 => block,
        1 => block + u32::from(shape >> 4),
        2 => u32::from((shape >> 4) & 3),
        _ => input.u32(),
    };
    let [ebx, ecx, edx] = match shape / 4 % 4 {
        0 => words(SIGNATURE),
        1 => words(*b"KVMKVMKVM\0\0\0"),
        2 => words(*b"AuthcAMDenti"),
        _ => [input.u32(), input.u32(), input.u32()],
    };
    kvm_cpuid_entry2 {
        function,
        eax: input.u32(),
        ebx,
        ecx,
        edx,
        ..Default::default()
    }
}

fn words(bytes: [u8; 12]) -> [u32; 3] {
    [0, 4, 8].map(|at| u32::from_le_bytes(std::array::from_fn(|index| bytes[at + index])))
}
