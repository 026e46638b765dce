// SPDX-License-Identifier: MIT OR Apache-2.0
//! ELF images with a PVH note: unikernels, and Linux' vmlinux
//! (Xen, "x86/HVM direct boot ABI").

use super::{
    acpi, elf_headers, load_initrd, low_memory_size, usable_ranges, Entry, Guest, Initrd,
    LoadError, COMMAND_LINE, HIGH_MEMORY_START, MEMORY_MAP, MODULE_LIST, START_INFO,
};
use hcall_abi::Gpa;
use linux_loader::configurator::pvh::PvhBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::elf::start_info::{
    hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info,
};
use linux_loader::loader::elf::PvhBootCapability;
use linux_loader::loader::{Elf, KernelLoader};
use std::fs::File;
use vm_memory::GuestMemoryMmap;

/// First bytes of the start info.
const START_INFO_MAGIC: u32 = 0x336e_c578;
/// Version with a memory map.
const START_INFO_VERSION: u32 = 1;
/// XEN_HVM_MEMMAP_TYPE_RAM.
const MEMORY_TYPE_RAM: u32 = 1;

pub(super) fn load(
    memory: &GuestMemoryMmap,
    image: &mut File,
    guest: Guest<'_>,
) -> Result<Entry, LoadError> {
    if !elf_headers::are_modest(image) {
        return Err(LoadError::Headers(guest.kernel.into()));
    }
    let loaded = Elf::load(memory, None, image, None).map_err(|source| LoadError::Image {
        path: guest.kernel.into(),
        memory: low_memory_size(memory) >> 20,
        source,
    })?;
    let PvhBootCapability::PvhEntryPresent(entry) = loaded.pvh_boot_cap else {
        return Err(LoadError::NoPvhNote(guest.kernel.into()));
    };
    let floor = loaded.kernel_end.max(HIGH_MEMORY_START.0);
    let initrd = guest
        .initrd
        .map(|path| load_initrd(memory, path, floor, u64::MAX))
        .transpose()?;
    write_start_info(memory, initrd)?;
    Ok(Entry {
        rip: Gpa::new(entry.0),
        rax: 0,
        rbx: START_INFO.0,
        rsi: 0,
    })
}

fn write_start_info(memory: &GuestMemoryMmap, initrd: Option<Initrd>) -> Result<(), LoadError> {
    let map: Vec<hvm_memmap_table_entry> = usable_ranges(memory)
        .into_iter()
        .map(|(addr, size)| hvm_memmap_table_entry {
            addr,
            size,
            type_: MEMORY_TYPE_RAM,
            reserved: 0,
        })
        .collect();
    let modules: Vec<hvm_modlist_entry> = initrd
        .map(|initrd| hvm_modlist_entry {
            paddr: initrd.start.0,
            size: initrd.length,
            ..Default::default()
        })
        .into_iter()
        .collect();
    let start_info = hvm_start_info {
        magic: START_INFO_MAGIC,
        version: START_INFO_VERSION,
        cmdline_paddr: COMMAND_LINE.0,
        rsdp_paddr: acpi::RSDP.0,
        memmap_paddr: MEMORY_MAP.0,
        memmap_entries: map.len() as u32,
        nr_modules: modules.len() as u32,
        modlist_paddr: MODULE_LIST.0,
        ..Default::default()
    };
    let mut parameters = BootParams::new(&start_info, START_INFO);
    parameters.set_sections(&map, MEMORY_MAP);
    parameters.set_modules(&modules, MODULE_LIST);
    PvhBootConfigurator::write_bootparams(&parameters, memory)
        .map_err(|_| LoadError::BootStructures)
}
