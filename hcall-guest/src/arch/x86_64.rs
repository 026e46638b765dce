// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The trapping instructions of x86-64.
//!
//! Also compiled into the Linux module. The parent module provides `abi` (the crate
//! `hcall-abi`), `Trap` (of `detect`), and the macro `trap_fixup!`,
//! whose text follows each trap: local label 2 is the trap, label 3 what comes after it,
//! and rax is the result.

use super::abi::carrier::CarrierRegisters;
use super::abi::convention::Arguments;
use super::abi::cpuid::CpuidRegisters;
use super::abi::transport::PORT;
use super::Trap;
use core::arch::asm;

/// A trap with these registers; returns rax. LLVM reserves rbx, so it is exchanged with
/// the register that LLVM chose for its value, before and after.
macro_rules! trap_with_registers {
    ($instruction:literal $(, $operand:ident = const $constant:expr)?;
     rax = $rax:expr, rbx = $rbx:expr $(, $register:tt = $value:expr)*) => {{
        let result: i64;
        // Not `nomem`, not `readonly`, not `pure`: the host may read and write any guest
        // memory on behalf of the call.
        asm!(
            "xchg {rbx_value}, rbx",
            concat!("2: ", $instruction),
            "3: xchg {rbx_value}, rbx",
            trap_fixup!(),
            $($operand = const $constant,)?
            rbx_value = inout(reg) $rbx => _,
            inlateout("rax") $rax => result,
            $(in($register) $value,)*
            options(nostack, preserves_flags),
        );
        result
    }};
}

/// A trap with the registers of `hcall_abi::convention`.
macro_rules! trap_with {
    ($number:expr, $arguments:expr, $instruction:literal $(, $operand:ident = const $constant:expr)?) => {
        trap_with_registers!(
            $instruction $(, $operand = const $constant)?;
            rax = u64::from($number), rbx = $arguments[0],
            "rcx" = $arguments[1], "rdx" = $arguments[2], "rsi" = $arguments[3]
        )
    };
}

/// A trap with the registers of `hcall_abi::carrier`.
macro_rules! carrier_with {
    ($number:expr, $arguments:expr, $instruction:literal) => {{
        let registers = CarrierRegisters::carrying($number);
        trap_with_registers!(
            $instruction;
            rax = registers.rax, rbx = registers.rbx,
            "rcx" = registers.rcx, "rdx" = registers.rdx, "rsi" = $arguments[0],
            "rdi" = $arguments[1], "r8" = $arguments[2], "r9" = $arguments[3]
        )
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

/// Executes VMMCALL in the carrier's shape and returns rax.
///
/// # Safety
///
/// As [`vmmcall`], and the host must have offered the transport Carrier: elsewhere the
/// call is a request to map guest memory, which another host may carry out.
#[inline]
pub unsafe fn carrier_vmmcall(number: u32, arguments: Arguments) -> i64 {
    // SAFETY: as in `vmmcall`.
    unsafe { carrier_with!(number, arguments, "vmmcall") }
}

/// Executes VMCALL in the carrier's shape and returns rax.
///
/// # Safety
///
/// As [`vmcall`], and the host must have offered the transport Carrier: elsewhere the
/// call is a request to map guest memory, which another host may carry out.
#[inline]
pub unsafe fn carrier_vmcall(number: u32, arguments: Arguments) -> i64 {
    // SAFETY: as in `vmmcall`.
    unsafe { carrier_with!(number, arguments, "vmcall") }
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
            Trap::CarrierVmmcall => carrier_vmmcall(number, arguments),
            Trap::CarrierVmcall => carrier_vmcall(number, arguments),
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
