// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a plugin cannot be loaded.

use super::sealed::SIZE_LIMIT;
use hcall_abi::{Errno, HypercallNumber, NumberError};
use hcall_plugin::abi::{HANDLERS_LIMIT, PLUGIN_ABI_VERSION, TEXT_LIMIT};

/// Why a plugin cannot be loaded, in one line.
#[derive(Debug, thiserror::Error)]
#[error("cannot load the plugin {name}: {fault}")]
pub struct PluginError {
    name: String,
    fault: PluginFault,
}

impl PluginError {
    pub(super) fn new(name: &str, fault: PluginFault) -> Self {
        Self {
            name: name.into(),
            fault,
        }
    }

    /// What is wrong.
    pub fn fault(&self) -> &PluginFault {
        &self.fault
    }
}

/// What is wrong with a plugin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginFault {
    /// This program has no dynamic linker.
    #[error(
        "this program is linked statically, and can load none: build it without \
         `-C target-feature=+crt-static`"
    )]
    StaticProgram,
    /// A directory, a device, a FIFO.
    #[error("not a regular file")]
    NotAFile,
    /// Larger than any plugin.
    #[error("larger than {} MiB", SIZE_LIMIT >> 20)]
    TooLarge,
    /// The file cannot be read.
    #[error("cannot read it: {0}")]
    Read(std::io::Error),
    /// Not a shared object for this machine.
    #[error(transparent)]
    Elf(#[from] ElfFault),
    /// There is no copy of it in memory.
    #[error("cannot copy it to memory: {0}")]
    Copy(std::io::Error),
    /// The dynamic linker's reason.
    #[error("the dynamic linker says: {0}")]
    Link(String),
    /// It exports no descriptor.
    #[error("it exports no symbol `hcall_plugin`: it is no plugin of hcall's")]
    NoDescriptor,
    /// Its descriptor is wrong.
    #[error(transparent)]
    Descriptor(#[from] DescriptorFault),
    /// Its own `create` failed.
    #[error("its own start failed: {0}")]
    Create(Errno),
}

/// Why a file is no shared object for this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ElfFault {
    /// Not ELF.
    #[error("not an ELF file")]
    NotElf,
    /// Shorter than it says it is.
    #[error("its end is missing: an ELF file that was not written whole")]
    Truncated,
    /// For another processor.
    #[error("not for x86-64: an ELF file for other processors, or for 32 bits")]
    OtherMachine,
    /// A program, an object, a core dump.
    #[error("an ELF file, but no shared object: link it with `-shared`")]
    NotShared,
    /// Fields that contradict each other.
    #[error("a damaged ELF file")]
    Damaged,
}

/// What is wrong with a descriptor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorFault {
    /// Of another contract.
    #[error(
        "it was made for version {0} of the contract between plugins and hosts, and this host \
         knows version {PLUGIN_ABI_VERSION}"
    )]
    Version(u32),
    /// The descriptor's size is none.
    #[error(
        "its descriptor's size, {0} bytes, is none that version {PLUGIN_ABI_VERSION} can have"
    )]
    Size(u32),
    /// A pointer that must not be null.
    #[error("its descriptor's `{0}` is null")]
    Null(&'static str),
    /// A text that is too long, or no text.
    #[error("its `{0}` is no text of 1 to {TEXT_LIMIT} bytes in UTF-8")]
    Text(&'static str),
    /// How many handlers there are.
    #[error("it has {0} handlers; a plugin has 1 to {HANDLERS_LIMIT}")]
    HandlerCount(u32),
    /// The size of a handler's structure is none.
    #[error("its handlers' size, {0} bytes, is none that version {PLUGIN_ABI_VERSION} can have")]
    HandlerSize(u32),
    /// A number that nobody can have.
    #[error(transparent)]
    Number(#[from] NumberError),
    /// Two handlers for a number.
    #[error("it has two handlers for {0}")]
    Duplicate(HypercallNumber),
    /// Unknown callers.
    #[error("of {number} it says that `{callers}` may call, which version {PLUGIN_ABI_VERSION} does not know")]
    Callers {
        /// The handler's number.
        number: HypercallNumber,
        /// What stands there.
        callers: u32,
    },
    /// No function.
    #[error("its handler for {0} is null")]
    NoFunction(HypercallNumber),
}
