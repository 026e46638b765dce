// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! Detection: whether a host implements hcall, and which trap reaches it.
//!
//! Looks at CPUID only; nothing that could trap is executed. Also compiled into the
//! Linux module; the parent module provides `abi` (the crate `hcall-abi`).

use super::abi::convention::TrapInstruction;
use super::abi::cpuid::{Advertisement, CpuidRegisters};
use super::abi::transport::{Transport, TransportSet};
use super::abi::version::{AbiVersion, ABI_VERSION};

/// The CPUID leaf with the processor's vendor.
const VENDOR_LEAF: u32 = 0;

/// What this SDK can execute on any processor.
const USABLE: TransportSet = TransportSet::EMPTY.with(Transport::Port);

/// What takes the vendor's instruction. The carrier's shape needs 64-bit registers.
const BY_INSTRUCTION: TransportSet = if cfg!(target_arch = "x86_64") {
    TransportSet::EMPTY
        .with(Transport::Instruction)
        .with(Transport::Carrier)
} else {
    TransportSet::EMPTY.with(Transport::Instruction)
};

/// What the guest executes to reach the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trap {
    /// VMMCALL, for [`Transport::Instruction`] on AMD and Hygon.
    Vmmcall,
    /// VMCALL, for [`Transport::Instruction`] on Intel, Zhaoxin and Centaur.
    Vmcall,
    /// VMMCALL, for [`Transport::Carrier`] on the same processors.
    CarrierVmmcall,
    /// VMCALL, for [`Transport::Carrier`] on the same processors.
    CarrierVmcall,
    /// `out` to the ABI's port, for [`Transport::Port`].
    Port,
}

impl Trap {
    /// The transport that the trap belongs to.
    pub const fn transport(self) -> Transport {
        match self {
            Self::Vmmcall | Self::Vmcall => Transport::Instruction,
            Self::CarrierVmmcall | Self::CarrierVmcall => Transport::Carrier,
            Self::Port => Transport::Port,
        }
    }

    /// The vendor's instruction that the trap is, if it is one.
    pub const fn instruction(self) -> Option<TrapInstruction> {
        match self {
            Self::Vmmcall | Self::CarrierVmmcall => Some(TrapInstruction::Vmmcall),
            Self::Vmcall | Self::CarrierVmcall => Some(TrapInstruction::Vmcall),
            Self::Port => None,
        }
    }

    /// The trap that carries a call by `instruction`.
    pub const fn carrier(instruction: TrapInstruction) -> Self {
        match instruction {
            TrapInstruction::Vmmcall => Self::CarrierVmmcall,
            TrapInstruction::Vmcall => Self::CarrierVmcall,
        }
    }
}

impl From<TrapInstruction> for Trap {
    fn from(instruction: TrapInstruction) -> Self {
        match instruction {
            TrapInstruction::Vmmcall => Self::Vmmcall,
            TrapInstruction::Vmcall => Self::Vmcall,
        }
    }
}

/// A host that implements hcall, as found in CPUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Host {
    /// Base of the host's CPUID block.
    pub cpuid_base: u32,
    /// What the host says of itself.
    pub advertisement: Advertisement,
    /// What to execute.
    pub trap: Trap,
}

impl Host {
    /// Looks for a host, given a way to execute CPUID (leaf, subleaf 0).
    ///
    /// # Errors
    ///
    /// [`DetectError`] says why no call can be made.
    pub fn detect(mut cpuid: impl FnMut(u32) -> CpuidRegisters) -> Result<Self, DetectError> {
        let (cpuid_base, advertisement) =
            Advertisement::find(&mut cpuid).ok_or(DetectError::NoHost)?;
        if advertisement.abi_version != ABI_VERSION {
            return Err(DetectError::Version(advertisement.abi_version));
        }
        let trap = choose(&advertisement, cpuid(VENDOR_LEAF).vendor())?;
        Ok(Self {
            cpuid_base,
            advertisement,
            trap,
        })
    }
}

/// The trap for the best transport that is offered and can be used on the processors of
/// `vendor`. The instruction is not usable where the vendor does not tell which it is.
fn choose(advertisement: &Advertisement, vendor: [u8; 12]) -> Result<Trap, DetectError> {
    let offered = advertisement.transports;
    let instruction = TrapInstruction::for_vendor(vendor);
    let usable = match instruction {
        Some(_) => BY_INSTRUCTION.with(Transport::Port),
        None => USABLE,
    };
    match (advertisement.select(usable), instruction) {
        (Some(Transport::Instruction), Some(instruction)) => Ok(instruction.into()),
        (Some(Transport::Carrier), Some(instruction)) => Ok(Trap::carrier(instruction)),
        (Some(Transport::Port), _) => Ok(Trap::Port),
        _ if !offered.intersection(BY_INSTRUCTION).is_empty() => Err(DetectError::Vendor(vendor)),
        _ => Err(DetectError::NoTransport(offered)),
    }
}

/// Why no hypercall can be made on this machine. Nothing has been executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DetectError {
    /// CPUID shows no hypervisor, or none with the hcall signature.
    NoHost,
    /// The host speaks this version of the ABI, which is not the one compiled in.
    Version(AbiVersion),
    /// The host offers these transports, none of which this side can use.
    NoTransport(TransportSet),
    /// The host takes the trap instruction and nothing else that this side can use, but
    /// which instruction that is for this CPUID vendor is not known.
    Vendor([u8; 12]),
    /// The caller runs at this CPL; only CPL 0 may trap. A Linux process calls through
    /// `/dev/hcall` (feature `device`).
    Privilege(u8),
}

impl core::fmt::Display for DetectError {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoHost => formatter
                .write_str("no hcall host: CPUID shows no hypervisor with the hcall signature"),
            Self::Version(host) => write!(
                formatter,
                "the host speaks hcall ABI version {host}, this guest version {ABI_VERSION}"
            ),
            Self::NoTransport(offered) => write!(
                formatter,
                "the host offers no transport that this guest can use (offered: {:#x})",
                offered.bits()
            ),
            Self::Vendor(vendor) => write!(
                formatter,
                "unknown CPUID vendor {:?}: cannot choose between VMMCALL and VMCALL",
                core::str::from_utf8(vendor).unwrap_or("(not text)")
            ),
            Self::Privilege(level) => write!(
                formatter,
                "hypercalls need CPL 0, this is CPL {level}; a process calls through /dev/hcall"
            ),
        }
    }
}

impl core::error::Error for DetectError {}
