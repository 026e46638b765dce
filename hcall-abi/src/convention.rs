// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The register convention and the instructions' encodings.
//!
//! | | 64-bit | 32-bit protected mode |
//! |---|---|---|
//! | number | rax (upper 32 bits zero) | eax |
//! | arguments | rbx, rcx, rdx, rsi | ebx, ecx, edx, esi |
//! | result | rax | eax |
//!
//! No other register and no flag is changed. This is the convention of Linux'
//! `kvm_hypercall0..4` (`arch/x86/include/asm/kvm_para.h`) and of Palacios.

/// How many arguments a call can carry.
pub const ARGUMENT_COUNT: usize = 4;

/// The arguments in register order: rbx, rcx, rdx, rsi. Unused ones are zero.
pub type Arguments = [u64; ARGUMENT_COUNT];

/// VMMCALL: AMD and Hygon (APM volume 3, "VMMCALL").
pub const VMMCALL_BYTES: [u8; 3] = [0x0f, 0x01, 0xd9];

/// VMCALL: Intel, Zhaoxin and Centaur (SDM volume 3, "VMCALL").
pub const VMCALL_BYTES: [u8; 3] = [0x0f, 0x01, 0xc1];

/// The instruction that traps into the VMM on a vendor's processors.
///
/// # Examples
///
/// ```
/// use hcall_abi::convention::TrapInstruction;
/// assert_eq!(TrapInstruction::for_vendor(*b"AuthenticAMD"), Some(TrapInstruction::Vmmcall));
/// assert_eq!(TrapInstruction::for_vendor(*b"GenuineIntel"), Some(TrapInstruction::Vmcall));
/// assert_eq!(TrapInstruction::for_vendor(*b"SomebodyElse"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrapInstruction {
    /// `0f 01 d9`.
    Vmmcall,
    /// `0f 01 c1`.
    Vmcall,
}

impl TrapInstruction {
    /// The instruction of the CPUID leaf 0 vendor (bytes of ebx, edx, ecx, in this order).
    ///
    /// Chosen by vendor, never by trying: the wrong instruction raises #UD, which KVM may
    /// "repair" by rewriting guest text.
    pub const fn for_vendor(vendor: [u8; 12]) -> Option<Self> {
        match &vendor {
            b"AuthenticAMD" | b"HygonGenuine" => Some(Self::Vmmcall),
            b"GenuineIntel" | b"  Shanghai  " | b"CentaurHauls" => Some(Self::Vmcall),
            _ => None,
        }
    }

    /// The three bytes of the instruction.
    pub const fn bytes(self) -> [u8; 3] {
        match self {
            Self::Vmmcall => VMMCALL_BYTES,
            Self::Vmcall => VMCALL_BYTES,
        }
    }

    /// The mnemonic, upper case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vmmcall => "VMMCALL",
            Self::Vmcall => "VMCALL",
        }
    }
}
