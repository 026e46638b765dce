// SPDX-License-Identifier: MIT OR Apache-2.0
//! The trapping instructions in 32-bit protected mode: number in eax, arguments in ebx,
//! ecx, edx and esi, of which each holds the low 32 bits; the result in eax, extended by
//! its sign. There is no carrier: its shape needs 64-bit registers.

use super::abi::convention::Arguments;
use super::abi::cpuid::CpuidRegisters;
use super::abi::transport::PORT;
use super::abi::Errno;
use super::Trap;
use core::arch::asm;

/// A trap with the registers of `hcall_abi::convention`. LLVM reserves esi, so it is
/// exchanged with the register that LLVM chose for its value, before and after.
macro_rules! trap_with {
    ($number:expr, $arguments:expr, $instruction:literal $(, $operand:ident = const $constant:expr)?) => {{
        let [ebx, ecx, edx, esi] = $arguments.map(|argument| argument as u32);
        let result: i32;
        // Not `nomem`, not `readonly`, not `pure`: the host may read and write any guest
        // memory on behalf of the call.
        asm!(
            "xchg {esi_value}, esi",
            $instruction,
            "xchg {esi_value}, esi",
            $($operand = const $constant,)?
            esi_value = inout(reg) esi => _,
            inlateout("eax") $number => result,
            in("ebx") ebx,
            in("ecx") ecx,
            in("edx") edx,
            options(nostack, preserves_flags),
        );
        i64::from(result)
    }};
}

/// Executes VMMCALL and returns eax, extended by its sign.
///
/// # Safety
///
/// The processor must be AMD's or Hygon's, virtualized by a host that takes VMMCALL;
/// elsewhere the instruction raises #UD. What the call makes the host do to this guest's
/// memory must be sound for the caller.
#[inline]
pub unsafe fn vmmcall(number: u32, arguments: Arguments) -> i64 {
    // SAFETY: the caller vouches for instruction and effect; only eax changes, esi is
    // restored by the second exchange.
    unsafe { trap_with!(number, arguments, "vmmcall") }
}

/// Executes VMCALL and returns eax, extended by its sign.
///
/// # Safety
///
/// The processor must be Intel's, Zhaoxin's or Centaur's, virtualized by a host that
/// takes VMCALL; elsewhere the instruction raises #UD. What the call makes the host do to
/// this guest's memory must be sound for the caller.
#[inline]
pub unsafe fn vmcall(number: u32, arguments: Arguments) -> i64 {
    // SAFETY: as in `vmmcall`.
    unsafe { trap_with!(number, arguments, "vmcall") }
}

/// Executes `out` to the ABI's port and returns eax, extended by its sign.
///
/// # Safety
///
/// The host must have offered the port, and the current privilege level must be allowed
/// to use it; elsewhere the write reaches some device or raises #GP. What the call makes
/// the host do to this guest's memory must be sound for the caller.
#[inline]
pub unsafe fn port_out(number: u32, arguments: Arguments) -> i64 {
    // SAFETY: as in `vmmcall`; the host answers in eax, which `out` itself leaves alone.
    unsafe { trap_with!(number, arguments, "out {port}, eax", port = const PORT) }
}

/// Executes the trap that detection chose and returns eax, extended by its sign.
///
/// # Safety
///
/// `trap` must come from a successful detection on this machine. What the call makes the
/// host do to this guest's memory must be sound for the caller.
#[inline]
pub(crate) unsafe fn trap(trap: Trap, number: u32, arguments: Arguments) -> i64 {
    // SAFETY: detection saw the host offer this trap to this processor; the caller
    // vouches for the effect.
    unsafe {
        match trap {
            Trap::Vmmcall => vmmcall(number, arguments),
            Trap::Vmcall => vmcall(number, arguments),
            Trap::Port => port_out(number, arguments),
            // Detection does not choose them here; nothing is executed.
            Trap::CarrierVmmcall | Trap::CarrierVmcall => -i64::from(Errno::EOPNOTSUPP.get()),
        }
    }
}

/// Executes CPUID with subleaf 0.
pub(crate) fn cpuid(leaf: u32) -> CpuidRegisters {
    // `__cpuid` is unsafe at the minimum Rust version and safe in later ones.
    #[allow(unused_unsafe)]
    // SAFETY: every processor with hypercalls has CPUID, and it touches no memory.
    let registers = unsafe { core::arch::x86::__cpuid(leaf) };
    CpuidRegisters {
        eax: registers.eax,
        ebx: registers.ebx,
        ecx: registers.ecx,
        edx: registers.edx,
    }
}

/// The current privilege level (CPL): the low two bits of CS.
pub(crate) fn current_privilege_level() -> u8 {
    let selector: u16;
    // SAFETY: reading CS changes nothing.
    unsafe { asm!("mov {0:x}, cs", out(reg) selector, options(nomem, nostack, preserves_flags)) };
    (selector & 3) as u8
}
