// SPDX-License-Identifier: MIT OR Apache-2.0
//! A raw profile of LLVM's, as its runtime library would write it: made from the module's
//! file and the counters, because a kernel has no such library.
//!
//! The format: `llvm/include/llvm/ProfileData/InstrProfData.inc`, version 10.

use anyhow::{bail, Context, Result};
use elf::abi::R_X86_64_PC64;
use elf::endian::LittleEndian;
use elf::ElfBytes;

use super::executed::Executed;

const MAGIC: u64 = 0xff6c_7072_6f66_7281;
const VERSION: u64 = 10;

/// The last kind of values that are profiled beside counters; the module profiles none.
const VALUE_KIND_LAST: u64 = 2;

/// A function's record, and where in it the place of its counters stands, relative to the
/// record.
const RECORD: usize = 64;
const COUNTERS_AT: u64 = 16;

const DATA: &str = "__llvm_prf_data";
const COUNTERS: &str = "__llvm_prf_cnts";
const NAMES: &str = "__llvm_prf_names";

type Module<'a> = ElfBytes<'a, LittleEndian>;

/// The profile of the module in this file.
pub(crate) fn raw(file: &[u8], executed: &Executed) -> Result<Vec<u8>> {
    let module = Module::minimal_parse(file).context("the module is no ELF file")?;
    let records = records(&module)?;
    let names = section(&module, NAMES)?;
    let counters = section(&module, COUNTERS)?.len() / size_of::<u64>();
    if counters != executed.len() {
        bail!(
            "the module has {counters} counters, guests saw {}",
            executed.len()
        );
    }
    let header = [
        MAGIC,
        VERSION,
        0, // bytes of build identifiers
        (records.len() / RECORD) as u64,
        0, // padding before the counters
        counters as u64,
        0, // padding after the counters
        0, // bytes of bitmaps
        0, // padding after the bitmaps
        names.len() as u64,
        0, // from the records to the counters: `records` has taken it out
        0, // from the records to the bitmaps
        0, // the address of the names
        0, // virtual tables
        0, // bytes of their names
        VALUE_KIND_LAST,
    ];
    let mut profile: Vec<u8> = header.into_iter().flat_map(u64::to_le_bytes).collect();
    profile.extend(records);
    profile.extend(executed.counters().flat_map(u64::to_le_bytes));
    profile.extend(names);
    profile.resize(profile.len().next_multiple_of(size_of::<u64>()), 0);
    Ok(profile)
}

/// The functions' records, linked as if records and counters began at the same address.
fn records(module: &Module<'_>) -> Result<Vec<u8>> {
    let mut records = section(module, DATA)?.to_vec();
    let header = module
        .section_header_by_name(&format!(".rela{DATA}"))?
        .context("the module's records are linked already")?;
    let (symbols, _) = module
        .symbol_table()?
        .context("the module has no symbols")?;
    for relocation in module.section_data_as_relas(&header)? {
        let place = relocation.r_offset;
        if place % RECORD as u64 != COUNTERS_AT {
            // Of no use to the tools: the function's address.
            continue;
        }
        if relocation.r_type != R_X86_64_PC64 {
            bail!(
                "a record is linked in an unknown way, {}",
                relocation.r_type
            );
        }
        let symbol = symbols.get(relocation.r_sym as usize)?;
        let value = symbol
            .st_value
            .wrapping_add_signed(relocation.r_addend)
            .wrapping_sub(place);
        records
            .get_mut(place as usize..place as usize + size_of::<u64>())
            .context("a relocation behind the records")?
            .copy_from_slice(&value.to_le_bytes());
    }
    Ok(records)
}

fn section<'a>(module: &Module<'a>, name: &str) -> Result<&'a [u8]> {
    let header = module
        .section_header_by_name(name)?
        .with_context(|| format!("the module has no section {name}: it does not count"))?;
    Ok(module.section_data(&header)?.0)
}
