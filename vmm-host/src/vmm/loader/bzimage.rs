// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux' bzImage by its 32-bit boot protocol (Documentation/arch/x86/boot.rst).

use super::{
    acpi, load_initrd, low_memory_size, usable_ranges, Entry, Guest, LoadError, COMMAND_LINE,
    HIGH_MEMORY_START, ZERO_PAGE,
};
use hcall_abi::Gpa;
use linux_loader::configurator::linux::LinuxBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::bootparam::{boot_e820_entry, boot_params};
use linux_loader::loader::{BzImage, KernelLoader};
use std::fs::File;
use vm_memory::GuestMemoryMmap;

/// E820_TYPE_RAM.
const MEMORY_TYPE_RAM: u32 = 1;
/// `type_of_loader`: a loader without a number of its own.
const LOADER_UNDEFINED: u8 = 0xff;

pub(super) fn load(
    memory: &GuestMemoryMmap,
    image: &mut File,
    guest: Guest<'_>,
) -> Result<Entry, LoadError> {
    let refused = |source| LoadError::Image {
        path: guest.kernel.into(),
        memory: low_memory_size(memory) >> 20,
        source,
    };
    let loaded = BzImage::load(memory, None, image, Some(HIGH_MEMORY_START)).map_err(refused)?;
    let mut header = loaded
        .setup_header
        .ok_or_else(|| LoadError::UnknownImage(guest.kernel.into()))?;
    header.type_of_loader = LOADER_UNDEFINED;
    header.cmd_line_ptr = COMMAND_LINE.0 as u32;
    if let Some(path) = guest.initrd {
        // The image decompresses itself to `pref_address` and needs `init_size` there.
        let decompressed = header.pref_address.saturating_add(header.init_size.into());
        let floor = loaded.kernel_end.max(decompressed);
        let ceiling = u64::from(header.initrd_addr_max).saturating_add(1);
        let initrd = load_initrd(memory, path, floor, ceiling)?;
        header.ramdisk_image = initrd.start.0 as u32;
        header.ramdisk_size = initrd.length as u32;
    }

    let mut zero_page = boot_params {
        hdr: header,
        acpi_rsdp_addr: acpi::RSDP.0,
        ..Default::default()
    };
    for (entry, (addr, size)) in zero_page.e820_table.iter_mut().zip(usable_ranges(memory)) {
        *entry = boot_e820_entry {
            addr,
            size,
            type_: MEMORY_TYPE_RAM,
        };
        zero_page.e820_entries += 1;
    }
    LinuxBootConfigurator::write_bootparams(&BootParams::new(&zero_page, ZERO_PAGE), memory)
        .map_err(|_| LoadError::BootStructures)?;
    Ok(Entry {
        rip: Gpa::new(loaded.kernel_load.0),
        rax: 0,
        rbx: 0,
        rsi: ZERO_PAGE.0,
    })
}
