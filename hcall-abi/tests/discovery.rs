// SPDX-License-Identifier: MIT OR Apache-2.0
//! Discovery in CPUID: what a host writes a guest reads, and what hostile or strange
//! CPUIDs lead to.

use hcall_abi::convention::TrapInstruction;
use hcall_abi::cpuid::{
    Advertisement, CpuidRegisters, Features, Limits, BASE_STEP, FIRST_BASE, HYPERVISOR_BIT,
    HYPERVISOR_LEAF, LAST_BASE, SIGNATURE,
};
use hcall_abi::{AbiVersion, Transport, TransportSet, ABI_VERSION};
use std::collections::BTreeMap;

const SECOND_BASE: u32 = FIRST_BASE + BASE_STEP;

const HOST: Advertisement = Advertisement {
    abi_version: ABI_VERSION,
    features: Features::CORE_CALLS,
    transports: TransportSet::EMPTY
        .with(Transport::Instruction)
        .with(Transport::Port),
    preferred: Some(Transport::Port),
    limits: Limits {
        batch_entries: 1,
        ring_entries: 2,
        buffer_bytes: 3,
    },
};

/// A CPUID of which only some leaves are known; the others are zero.
#[derive(Clone, Default)]
struct Cpuid(BTreeMap<u32, CpuidRegisters>);

impl Cpuid {
    /// With the hypervisor bit.
    fn of_a_guest() -> Self {
        let leaf = CpuidRegisters {
            ecx: HYPERVISOR_BIT,
            ..Default::default()
        };
        Self(BTreeMap::from([(HYPERVISOR_LEAF, leaf)]))
    }

    fn with_block(mut self, base: u32, host: &Advertisement) -> Self {
        self.0.extend((base..).zip(host.leaves(base)));
        self
    }

    fn with_leaf(mut self, leaf: u32, change: impl FnOnce(&mut CpuidRegisters)) -> Self {
        change(self.0.entry(leaf).or_default());
        self
    }

    fn find(&self) -> Option<(u32, Advertisement)> {
        Advertisement::find(|leaf| self.0.get(&leaf).copied().unwrap_or_default())
    }
}

#[test]
fn what_a_host_writes_a_guest_reads() {
    for base in [FIRST_BASE, SECOND_BASE, 0x4000_8000, LAST_BASE] {
        let cpuid = Cpuid::of_a_guest().with_block(base, &HOST);
        assert_eq!(cpuid.find(), Some((base, HOST)));
    }
}

#[test]
fn without_the_hypervisor_bit_nothing_else_is_looked_at() {
    let mut looked_at = Vec::new();
    let found = Advertisement::find(|leaf| {
        looked_at.push(leaf);
        CpuidRegisters {
            ecx: !HYPERVISOR_BIT,
            ..HOST.leaves(leaf)[0]
        }
    });
    assert_eq!(found, None);
    assert_eq!(looked_at, [HYPERVISOR_LEAF]);
}

#[test]
fn a_guest_of_another_hypervisor_finds_nothing() {
    assert_eq!(Cpuid::of_a_guest().find(), None);
    let kvm_only = Cpuid::of_a_guest().with_leaf(FIRST_BASE, |leaf| {
        *leaf = signed(*b"KVMKVMKVM\0\0\0", FIRST_BASE + 1);
    });
    assert_eq!(kvm_only.find(), None);
}

#[test]
fn every_base_is_tried_and_no_other_leaf() {
    let mut looked_at = Vec::new();
    Advertisement::find(|leaf| {
        looked_at.push(leaf);
        CpuidRegisters {
            ecx: HYPERVISOR_BIT,
            ..Default::default()
        }
    });
    let bases = (FIRST_BASE..=LAST_BASE).step_by(BASE_STEP as usize);
    assert!(looked_at
        .into_iter()
        .eq([HYPERVISOR_LEAF].into_iter().chain(bases)));
}

#[test]
fn the_lowest_base_wins() {
    let other = Advertisement {
        preferred: Some(Transport::Instruction),
        ..HOST
    };
    let cpuid = Cpuid::of_a_guest()
        .with_block(LAST_BASE, &other)
        .with_block(SECOND_BASE, &HOST);
    assert_eq!(cpuid.find(), Some((SECOND_BASE, HOST)));
}

#[test]
fn a_block_between_bases_or_beyond_the_last_is_not_found() {
    for base in [
        FIRST_BASE + 1,
        SECOND_BASE - 4,
        LAST_BASE + BASE_STEP,
        FIRST_BASE - BASE_STEP,
    ] {
        assert_eq!(
            Cpuid::of_a_guest().with_block(base, &HOST).find(),
            None,
            "{base:#x}"
        );
    }
}

#[test]
fn a_signature_that_differs_in_one_byte_is_none() {
    for byte in 0..SIGNATURE.len() {
        let mut signature = SIGNATURE;
        signature[byte] ^= 0x20;
        let cpuid = Cpuid::of_a_guest()
            .with_block(SECOND_BASE, &HOST)
            .with_leaf(SECOND_BASE, |leaf| {
                *leaf = signed(signature, SECOND_BASE + 3)
            });
        assert_eq!(cpuid.find(), None, "byte {byte}");
    }
}

#[test]
fn a_block_too_short_ends_the_search() {
    for highest in [0, SECOND_BASE, SECOND_BASE + 2] {
        let cpuid = Cpuid::of_a_guest()
            .with_block(SECOND_BASE, &HOST)
            .with_block(SECOND_BASE + BASE_STEP, &HOST)
            .with_leaf(SECOND_BASE, |leaf| leaf.eax = highest);
        assert_eq!(cpuid.find(), None, "highest leaf {highest:#x}");
    }
}

#[test]
fn a_longer_block_of_a_later_revision_is_read() {
    for highest in [SECOND_BASE + 4, SECOND_BASE + 0xff, u32::MAX] {
        let cpuid = Cpuid::of_a_guest()
            .with_block(SECOND_BASE, &HOST)
            .with_leaf(SECOND_BASE, |leaf| leaf.eax = highest);
        assert_eq!(cpuid.find(), Some((SECOND_BASE, HOST)));
    }
}

#[test]
fn another_version_is_reported_as_it_is() {
    for version in [0, 2, u32::MAX] {
        let host = Advertisement {
            abi_version: AbiVersion::new(version),
            ..HOST
        };
        let (_, found) = Cpuid::of_a_guest()
            .with_block(SECOND_BASE, &host)
            .find()
            .unwrap();
        assert_eq!(found.abi_version.get(), version);
        assert_eq!(
            found.abi_version == ABI_VERSION,
            version == ABI_VERSION.get()
        );
    }
}

#[test]
fn unknown_bits_and_reserved_registers_change_nothing() {
    let cpuid = Cpuid::of_a_guest()
        .with_block(SECOND_BASE, &HOST)
        .with_leaf(SECOND_BASE + 1, |leaf| {
            leaf.ebx |= 0xffff_fff8;
            leaf.ecx = u32::MAX;
            leaf.edx = u32::MAX;
        })
        .with_leaf(SECOND_BASE + 2, |leaf| {
            leaf.eax |= 0xffff_fff8;
            leaf.ecx = u32::MAX;
            leaf.edx = u32::MAX;
        })
        .with_leaf(SECOND_BASE + 3, |leaf| leaf.edx = u32::MAX);
    let (_, found) = cpuid.find().unwrap();
    assert!(found.features.contains(Features::CORE_CALLS));
    assert!(!found.features.contains(Features::BATCH));
    assert!(found.transports.iter().eq(HOST.transports.iter()));
    assert_eq!(found.select(HOST.transports), Some(Transport::Port));
    assert_eq!(found.limits, HOST.limits);
}

#[test]
fn every_leaf_full_of_ones_is_survived() {
    let everything = |leaf: u32| CpuidRegisters {
        eax: u32::MAX,
        ..match (FIRST_BASE..=LAST_BASE).contains(&leaf) && leaf % BASE_STEP == 0 {
            true => signed(SIGNATURE, 0),
            false => CpuidRegisters {
                eax: 0,
                ebx: u32::MAX,
                ecx: u32::MAX,
                edx: u32::MAX,
            },
        }
    };
    let (base, found) = Advertisement::find(everything).unwrap();
    assert_eq!(base, FIRST_BASE);
    assert_eq!(found.preferred, None);
    assert_eq!(found.select(TransportSet::EMPTY), None);
    assert_eq!(
        found.select(TransportSet::from_bits(u32::MAX)),
        Some(Transport::Instruction)
    );
}

#[test]
fn no_preference_and_an_unknown_one_are_the_same_to_a_guest() {
    let host = Advertisement {
        preferred: None,
        ..HOST
    };
    assert_eq!(host.leaves(SECOND_BASE)[2].ebx, u32::MAX);
    for preferred in [3, 31, 32, u32::MAX] {
        let cpuid = Cpuid::of_a_guest()
            .with_block(SECOND_BASE, &host)
            .with_leaf(SECOND_BASE + 2, |leaf| leaf.ebx = preferred);
        assert_eq!(cpuid.find(), Some((SECOND_BASE, host)));
    }
}

/// All 8 × 4 × 8 combinations of what is offered, preferred and usable.
#[test]
fn a_choice_is_offered_usable_and_preferred_where_possible() {
    let preferences = Transport::ALL.into_iter().map(Some).chain([None]);
    for preferred in preferences {
        for (offered, usable) in
            (0..8).flat_map(|offered| (0..8).map(move |usable| (offered, usable)))
        {
            let host = Advertisement {
                transports: TransportSet::from_bits(offered),
                preferred,
                ..HOST
            };
            let candidates = TransportSet::from_bits(offered & usable);
            let expected = match preferred {
                Some(preferred) if candidates.contains(preferred) => Some(preferred),
                _ => candidates.iter().next(),
            };
            assert_eq!(host.select(TransportSet::from_bits(usable)), expected);
            assert_eq!(candidates.is_empty(), expected.is_none());
        }
    }
}

#[test]
fn a_set_of_unknown_transports_only_is_empty() {
    let unknown = TransportSet::from_bits(0xffff_fff8);
    assert!(unknown.is_empty());
    assert_eq!(unknown.preferred(), None);
    assert_eq!(unknown.iter().count(), 0);
    assert_eq!(unknown.bits(), 0xffff_fff8);
}

#[test]
fn the_vendor_is_read_in_its_own_order() {
    // As an AMD and an Intel processor have them in leaf 0.
    let amd = CpuidRegisters {
        ebx: 0x6874_7541,
        edx: 0x6974_6e65,
        ecx: 0x444d_4163,
        eax: 16,
    };
    let intel = CpuidRegisters {
        ebx: 0x756e_6547,
        edx: 0x4965_6e69,
        ecx: 0x6c65_746e,
        eax: 22,
    };
    assert_eq!(amd.vendor(), *b"AuthenticAMD");
    assert_eq!(intel.vendor(), *b"GenuineIntel");
    assert_ne!(amd.signature(), amd.vendor());
}

#[test]
fn instructions_are_the_processors_and_never_guessed() {
    let vmmcall = Some(TrapInstruction::Vmmcall);
    let vmcall = Some(TrapInstruction::Vmcall);
    for (vendor, expected) in [
        (b"AuthenticAMD", vmmcall),
        (b"HygonGenuine", vmmcall),
        (b"GenuineIntel", vmcall),
        (b"  Shanghai  ", vmcall),
        (b"CentaurHauls", vmcall),
        (b"genuineintel", None),
        (b"AuthenticAMd", None),
        (b"KVMKVMKVM\0\0\0", None),
        (&[0; 12], None),
        (&[0xff; 12], None),
    ] {
        assert_eq!(TrapInstruction::for_vendor(*vendor), expected);
    }
    assert_eq!(TrapInstruction::Vmmcall.bytes(), [0x0f, 0x01, 0xd9]);
    assert_eq!(TrapInstruction::Vmcall.bytes(), [0x0f, 0x01, 0xc1]);
}

/// A block's first leaf with this signature and highest leaf.
fn signed(signature: [u8; 12], highest: u32) -> CpuidRegisters {
    let word = |at: usize| u32::from_le_bytes(signature[at..at + 4].try_into().unwrap());
    CpuidRegisters {
        eax: highest,
        ebx: word(0),
        ecx: word(4),
        edx: word(8),
    }
}
