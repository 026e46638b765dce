// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! Detection and the trapping instructions: the source files of the crate `hcall-guest`
//! themselves, not a copy.

use crate::abi;
use detect::Trap;

/// What rax holds when the processor refused the trap: outside the result encoding, so
/// that no host's answer is mistaken for it.
macro_rules! refused_trap {
    () => {
        -4096
    };
}

/// The same as a value.
pub(crate) const REFUSED_TRAP: i64 = refused_trap!();

/// An exception-table entry: a fault at label 2 continues at label 3 with
/// [`REFUSED_TRAP`] in rax. The third word is
/// `EX_TYPE_IMM_REG | EX_DATA_REG(0) | EX_DATA_IMM(refused_trap!())` of
/// `arch/x86/include/asm/extable_fixup_types.h`; register 0 is rax.
macro_rules! trap_fixup {
    () => {
        concat!(
            ".pushsection __ex_table, \"a\"\n",
            ".balign 4\n",
            ".long 2b - .\n",
            ".long 3b - .\n",
            ".long (",
            refused_trap!(),
            " << 16) | 17\n",
            ".popsection"
        )
    };
}

#[path = "../hcall-guest/src/detect.rs"]
pub(crate) mod detect;
#[path = "../hcall-guest/src/arch/x86_64.rs"]
pub(crate) mod x86_64;
