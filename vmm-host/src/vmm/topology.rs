// SPDX-License-Identifier: MIT OR Apache-2.0
//! What CPUID says of a vCPU's place among the others: each is a core of one package, and
//! its APIC's number is its own.

use super::config::VcpuCount;
use crate::cpuid::CpuidError;
use kvm_bindings::{kvm_cpuid_entry2, CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX};

/// Leaf 1: the initial APIC id, the number of logical processors and the flag for several.
const FEATURES: u32 = 1;
/// Leaf 1, edx: the package may have several logical processors (HTT).
const SEVERAL: u32 = 1 << 28;
/// Leaf 4: caches, and how many cores the package has room for.
const CACHES: u32 = 4;
/// The extended topology and its second version.
const TOPOLOGIES: [u32; 2] = [0xb, 0x1f];
/// Extended topology: the index of the cores' level.
const CORES: u32 = 1;
/// Extended topology, ecx: the kind of a level.
const LEVEL_THREAD: u32 = 1 << 8;
const LEVEL_CORE: u32 = 2 << 8;
/// AMD: the number of cores and the width of their ids.
const AMD_CORES: u32 = 0x8000_0008;
/// AMD: the extended APIC id and the core's id.
const AMD_TOPOLOGY: u32 = 0x8000_001e;

/// Makes `cpuid` that of vCPU `id` of `count`.
///
/// # Errors
///
/// [`CpuidError::Full`] if it has no room for another level of the topology.
pub(super) fn describe(cpuid: &mut CpuId, id: u32, count: VcpuCount) -> Result<(), CpuidError> {
    add_levels_of_cores(cpuid)?;
    let count = u32::from(count.get());
    for entry in cpuid.as_mut_slice() {
        match entry.function {
            FEATURES => describe_features(entry, id, count),
            CACHES if entry.eax & 0x1f != 0 => {
                entry.eax = (entry.eax & 0x3fff) | ((count.next_power_of_two() - 1) << 26);
            }
            function if TOPOLOGIES.contains(&function) => describe_level(entry, id, count),
            AMD_CORES => {
                entry.ecx = (entry.ecx & !0xf0ff) | (count - 1) | (id_width(count) << 12);
            }
            AMD_TOPOLOGY => (entry.eax, entry.ebx, entry.ecx) = (id, id, 0),
            _ => {}
        }
    }
    Ok(())
}

/// KVM names the first level of an extended topology only; a guest that finds no other
/// takes each core for a package.
fn add_levels_of_cores(cpuid: &mut CpuId) -> Result<(), CpuidError> {
    for function in TOPOLOGIES {
        let has = |index| {
            let mut entries = cpuid.as_slice().iter();
            entries.any(|entry| (entry.function, entry.index) == (function, index))
        };
        if has(0) && !has(CORES) {
            let cores = kvm_cpuid_entry2 {
                function,
                index: CORES,
                flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
                ..Default::default()
            };
            cpuid.push(cores).map_err(|_| CpuidError::Full)?;
        }
    }
    Ok(())
}

fn describe_features(entry: &mut kvm_cpuid_entry2, id: u32, count: u32) {
    entry.ebx = (entry.ebx & 0xffff) | (count << 16) | (id << 24);
    entry.edx &= !SEVERAL;
    if count > 1 {
        entry.edx |= SEVERAL;
    }
}

/// One thread a core, `count` cores a package, and no level above.
fn describe_level(entry: &mut kvm_cpuid_entry2, id: u32, count: u32) {
    let (shift, processors, level) = match entry.index {
        0 => (0, 1, LEVEL_THREAD),
        CORES => (id_width(count), count, LEVEL_CORE),
        _ => (0, 0, 0),
    };
    entry.eax = shift;
    entry.ebx = processors;
    entry.ecx = level | (entry.index & 0xff);
    entry.edx = id;
}

/// How many bits the ids of `count` cores take.
fn id_width(count: u32) -> u32 {
    count.next_power_of_two().trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(function: u32, index: u32, id: u32, count: u8) -> kvm_cpuid_entry2 {
        let entry = kvm_cpuid_entry2 {
            function,
            index,
            eax: 0xffff_ffe1,
            ebx: u32::MAX,
            ecx: u32::MAX,
            edx: u32::MAX,
            ..Default::default()
        };
        let mut cpuid = CpuId::from_entries(&[entry]).unwrap();
        describe(&mut cpuid, id, VcpuCount::new(count).unwrap()).unwrap();
        cpuid.as_slice()[0]
    }

    #[test]
    fn leaf_1_names_the_apic_and_the_count() {
        let entry = described(1, 0, 3, 4);
        assert_eq!(entry.ebx, 0x0304_ffff);
        assert_ne!(entry.edx & SEVERAL, 0);
        assert_eq!(described(1, 0, 0, 1).edx & SEVERAL, 0);
    }

    #[test]
    fn the_extended_topology_is_one_package_of_cores() {
        for leaf in TOPOLOGIES {
            let thread = described(leaf, 0, 5, 6);
            assert_eq!((thread.eax, thread.ebx, thread.ecx), (0, 1, 0x100));
            let core = described(leaf, 1, 5, 6);
            assert_eq!((core.eax, core.ebx, core.ecx), (3, 6, 0x201));
            let none = described(leaf, 2, 5, 6);
            assert_eq!((none.eax, none.ebx, none.ecx), (0, 0, 2));
            assert!([thread, core, none].iter().all(|entry| entry.edx == 5));
        }
    }

    #[test]
    fn the_level_of_cores_is_added_where_kvm_has_only_that_of_threads() {
        for function in TOPOLOGIES {
            let threads = kvm_cpuid_entry2 {
                function,
                ..Default::default()
            };
            let mut cpuid = CpuId::from_entries(&[threads]).unwrap();
            describe(&mut cpuid, 2, VcpuCount::new(4).unwrap()).unwrap();
            let [_, cores] = cpuid.as_slice() else {
                panic!("{cpuid:?}");
            };
            assert_eq!((cores.function, cores.index), (function, 1));
            assert_eq!(cores.flags, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
            assert_eq!((cores.eax, cores.ebx, cores.ecx), (2, 4, 0x201));
        }
    }

    #[test]
    fn the_count_of_cores_is_there_for_either_vendor() {
        assert_eq!(described(CACHES, 0, 1, 6).eax >> 26, 7);
        let amd = described(AMD_CORES, 0, 1, 6).ecx;
        assert_eq!((amd & 0xff, (amd >> 12) & 0xf), (5, 3));
        assert_eq!(described(AMD_TOPOLOGY, 0, 63, 64).eax, 63);
    }

    #[test]
    fn other_leaves_are_left_alone() {
        assert_eq!(described(0x4000_0000, 0, 1, 4).edx, u32::MAX);
    }
}
