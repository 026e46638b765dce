// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Multiboot information, which tells the guest what it was started with.
//!
//! | address | what |
//! |---|---|
//! | 0x6000 | the information |
//! | 0x6080 | its list of modules |
//! | 0x6100 | its memory map |
//! | 0x6300 | the loader's name |
//! | 0x6400 | the module's string |

use super::HIGH_MEMORY_START;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

/// What eax holds at the beginning.
pub(super) const LOADER_MAGIC: u32 = 0x2bad_b002;

pub(super) const ADDRESS: GuestAddress = GuestAddress(0x6000);
const MODULES: GuestAddress = GuestAddress(0x6080);
const MEMORY_MAP: GuestAddress = GuestAddress(0x6100);
const LOADER_NAME: GuestAddress = GuestAddress(0x6300);
const MODULE_STRING: GuestAddress = GuestAddress(0x6400);
/// Longest string of a module without its NUL.
pub(super) const MODULE_STRING_MAX: usize = 0xbff;

const NAME: &[u8] = b"hcall-vmm\0";

/// Which parts of the information are there.
const HAS_MEMORY: u32 = 1;
const HAS_COMMAND_LINE: u32 = 1 << 2;
const HAS_MODULES: u32 = 1 << 3;
const HAS_MEMORY_MAP: u32 = 1 << 6;
const HAS_LOADER_NAME: u32 = 1 << 9;

const KIBIBYTE: u64 = 1024;
/// What a map entry says of its own size: that of what follows the word.
const MAP_ENTRY_SIZE: u32 = 20;
const MAP_RAM: u32 = 1;

/// A module in guest memory.
#[derive(Clone, Debug)]
pub(super) struct Module {
    pub(super) start: GuestAddress,
    pub(super) length: u64,
    /// Without its NUL.
    pub(super) string: Vec<u8>,
}

/// What the guest is told.
#[derive(Clone, Debug)]
pub(super) struct Information {
    pub(super) command_line: GuestAddress,
    pub(super) module: Option<Module>,
    /// End of the memory below the hole under 4 GiB.
    pub(super) low_memory_end: u64,
    /// Usable ranges, as (start, length); the first is below 1 MiB.
    pub(super) memory_map: Vec<(u64, u64)>,
}

/// The information itself: words of 32 bits, in this order (3.3 "Boot information
/// format"). Addresses and sizes are below 4 GiB here.
#[derive(Clone, Copy, Debug, Default)]
struct Words {
    flags: u32,
    memory_lower: u32,
    memory_upper: u32,
    boot_device: u32,
    command_line: u32,
    modules_count: u32,
    modules: u32,
    symbols: [u32; 4],
    map_length: u32,
    map: u32,
    drives: [u32; 2],
    configuration: u32,
    loader_name: u32,
    /// Power management and video, of which there is nothing.
    rest: [u32; 12],
}

impl Words {
    fn bytes(&self) -> Vec<u8> {
        let before = [
            self.flags,
            self.memory_lower,
            self.memory_upper,
            self.boot_device,
            self.command_line,
            self.modules_count,
            self.modules,
        ];
        let map = [self.map_length, self.map];
        let after = [self.configuration, self.loader_name];
        let words = [
            &before[..],
            &self.symbols,
            &map,
            &self.drives,
            &after,
            &self.rest,
        ];
        little_endian(words.concat())
    }
}

impl Information {
    /// Writes it, and what it points to, to the addresses above.
    pub(super) fn write(&self, memory: &GuestMemoryMmap) -> Result<(), GuestMemoryError> {
        let lower = self.memory_map.first().map_or(0, |(_, length)| *length);
        let upper = self.low_memory_end.saturating_sub(HIGH_MEMORY_START.0);
        let map: Vec<u8> = self.memory_map.iter().flat_map(map_entry).collect();
        let modules: Vec<u8> = self.module.iter().flat_map(module_entry).collect();
        let words = Words {
            flags: HAS_MEMORY | HAS_COMMAND_LINE | HAS_MODULES | HAS_MEMORY_MAP | HAS_LOADER_NAME,
            memory_lower: (lower / KIBIBYTE) as u32,
            memory_upper: (upper / KIBIBYTE) as u32,
            command_line: self.command_line.0 as u32,
            modules_count: u32::from(self.module.is_some()),
            modules: MODULES.0 as u32,
            map_length: map.len() as u32,
            map: MEMORY_MAP.0 as u32,
            loader_name: LOADER_NAME.0 as u32,
            ..Default::default()
        };
        memory.write_slice(&words.bytes(), ADDRESS)?;
        memory.write_slice(&modules, MODULES)?;
        memory.write_slice(&map, MEMORY_MAP)?;
        memory.write_slice(NAME, LOADER_NAME)?;
        if let Some(module) = &self.module {
            memory.write_slice(&[&module.string[..], &[0]].concat(), MODULE_STRING)?;
        }
        Ok(())
    }
}

/// Its own size, start and length in two halves each, and the type.
fn map_entry((start, length): &(u64, u64)) -> Vec<u8> {
    let [start_low, start_high] = halves(*start);
    let [length_low, length_high] = halves(*length);
    little_endian(vec![
        MAP_ENTRY_SIZE,
        start_low,
        start_high,
        length_low,
        length_high,
        MAP_RAM,
    ])
}

/// Start, end, string, and a reserved word.
fn module_entry(module: &Module) -> Vec<u8> {
    let start = module.start.0;
    little_endian(vec![
        start as u32,
        (start + module.length) as u32,
        MODULE_STRING.0 as u32,
        0,
    ])
}

fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

fn little_endian(words: Vec<u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}
