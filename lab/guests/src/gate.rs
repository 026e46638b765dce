// SPDX-License-Identifier: MIT OR Apache-2.0
//! Another handler in a gate of the runtime's interrupt descriptor table.

use core::arch::asm;

/// From which privilege levels a gate can be entered by an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// CPL 0.
    Kernel,
    /// Every CPL.
    Everybody,
}

/// Attributes of a present interrupt gate with the runtime's code segment, 8, in the
/// middle two words (SDM volume 3, 6.14.1).
const KERNEL_GATE: u64 = 0x8e00_0008_0000;
const EVERYBODYS_GATE: u64 = 0xee00_0008_0000;

#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

/// Puts `handler` into the gate of `vector`; returns the address that stood there.
///
/// # Safety
///
/// `vector` is below 32, and `handler` is the address of code that takes an exception of
/// this vector as the processor delivers it.
pub unsafe fn replace(vector: usize, handler: u64, reach: Reach) -> u64 {
    let mut pointer = TablePointer { limit: 0, base: 0 };
    // SAFETY: at CPL 0, SIDT writes the ten bytes of the structure.
    unsafe { asm!("sidt [{}]", in(reg) &raw mut pointer, options(nostack)) };
    let gate = (pointer.base as *mut [u64; 2]).wrapping_add(vector);
    let attributes = match reach {
        Reach::Kernel => KERNEL_GATE,
        Reach::Everybody => EVERYBODYS_GATE,
    };
    let low = (handler & 0xffff) | attributes | (((handler >> 16) & 0xffff) << 48);
    // SAFETY: the runtime's table has 32 aligned gates of 16 bytes, in memory that stays
    // and that nothing else refers to; the caller vouches for the handler.
    let old = unsafe {
        let old = gate.read_volatile();
        gate.write_volatile([low, handler >> 32]);
        old
    };
    (old[0] & 0xffff) | ((old[0] >> 48) << 16) | (old[1] << 32)
}
