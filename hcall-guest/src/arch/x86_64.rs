// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The trapping instructions of x86-64.
//!
//! Also compiled into the Linux module. The parent module provides `abi` (the crate
//! `hcall-abi`), `Trap` (of `detect`), and the macro `trap_fixup!`,
//! whose text follows each trap: local label 2 is the trap, label 3 what comes after it,
//! and rax is the result.

use super::abi::convention::Arguments;
use super::abi::cpuid::CpuidRegisters;
use super::abi::transport::PORT;
use super::Trap;
use core::arch::asm;

/// A trap with the registers of `hcall_abi::convention`. LLVM reserves rbx, so it is
/// exchanged with the register that LLVM chose for argument 0, before and after.
macro_rules! trap_with {
    ($number:expr, $arguments:expr, $instruction:literal $(, $operand:ident = const $value:expr)?) => {{
        let result: i64;
        // Not `nomem`, not `readonly`, not `pure`: the host may read and write any guest
        // memory on behalf of the call.
        asm!(
            "xchg {argument0}, rbx",
            concat!("2: ", $instruction),
            "3: xchg {argument0}, rbx",
            trap_fixup!(),
            $($operand = const $value,)?
            argument0 = inout(reg) $arguments[0] => _,
            inlateout("rax") u64::from($number) => result,
            in("rcx") $arguments[1],
            in("rdx") $arguments[2],
            in("rsi") $arguments[3],
            options(nostack, preserves_flags),
        );
        result
    }};
}

/// Executes VMMCALL and returns rax.
///
/// # Safety
///
/// The processor must be AMD's or Hygon's, virtualized by a host that takes VMMCALL;
/// elsewhere the instruction raises #UD. What the call makes the host do to this guest's
/// memory must be sound for the caller.
#[inline]
pub unsafe fn vmmcall(number: u32, arguments: Arguments) -> i64 {
    // SAFETY: the caller vouches for instruction and effect; only rax changes, rbx is
    // restored by the second exchange.
    unsafe { trap_with!(number, arguments, "vmmcall") }
}

/// Executes VMCALL and returns rax.
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

/// Executes `out` to the ABI's port and returns rax.
///
/// # Safety
///
/// The host must have offered the port, and the current privilege level must be allowed
/// to use it; elsewhere the write reaches some device or raises #GP. What the call makes
/// the host do to this guest's memory must be sound for the caller.
#[inline]
pub unsafe fn port_out(number: u32, arguments: Arguments) -> i64 {
    // SAFETY: as in `vmmcall`; the host answers in rax, which `out` itself leaves alone.
    unsafe { trap_with!(number, arguments, "out {port}, eax", port = const PORT) }
}

/// Executes the trap that detection chose and returns rax.
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
        }
    }
}

/// Executes CPUID with subleaf 0.
pub(crate) fn cpuid(leaf: u32) -> CpuidRegisters {
    // `__cpuid` is unsafe at the minimum Rust version and safe in later ones.
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 processor has CPUID, and it touches no memory.
    let registers = unsafe { core::arch::x86_64::__cpuid(leaf) };
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
