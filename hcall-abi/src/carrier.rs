// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The registers of the transport [`Carrier`](super::transport::Transport::Carrier): a
//! call in the shape of KVM's hypercall KVM_HC_MAP_GPA_RANGE, which KVM hands to the VMM.
//!
//! | register | holds | for KVM it is |
//! |---|---|---|
//! | rax | [`NUMBER`] | the hypercall |
//! | rbx | [`GPA`] | the first address |
//! | rcx | [`PAGES`] | the number of pages |
//! | rdx | [`MAGIC`] in the upper half, our number in the lower | the attributes |
//! | rsi, rdi, r8, r9 | arguments 0 to 3 | nothing |
//!
//! KVM refuses an unaligned address, no page, and a range that overflows, and looks at
//! nothing else (`____kvm_emulate_hypercall` in arch/x86/kvm/x86.c). It reads registers of
//! 32 bits from a caller that is not in 64-bit mode, which therefore cannot call so.

/// KVM_HC_MAP_GPA_RANGE, in rax.
pub const NUMBER: u64 = 12;

/// What stands in rbx: an address that is aligned to a page.
pub const GPA: u64 = 0;

/// What stands in rcx: a number of pages that is not 0 and overflows with no address.
pub const PAGES: u64 = 1;

/// The upper half of rdx, `"HCAR"`; in attributes of a real request it is zero.
pub const MAGIC: u32 = 0x4843_4152;

/// The registers of a call that KVM looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarrierRegisters {
    /// rax
    pub rax: u64,
    /// rbx
    pub rbx: u64,
    /// rcx
    pub rcx: u64,
    /// rdx
    pub rdx: u64,
}

impl CarrierRegisters {
    /// The registers that carry `number`.
    ///
    /// # Examples
    ///
    /// ```
    /// use hcall_abi::carrier::CarrierRegisters;
    /// let registers = CarrierRegisters::carrying(0x4843_0000);
    /// assert_eq!(registers.rdx, 0x4843_4152_4843_0000);
    /// assert_eq!(registers.number(), Some(0x4843_0000));
    /// ```
    #[inline]
    pub const fn carrying(number: u32) -> Self {
        Self {
            rax: NUMBER,
            rbx: GPA,
            rcx: PAGES,
            rdx: ((MAGIC as u64) << 32) | number as u64,
        }
    }

    /// The number that a caller in 64-bit mode carries in these registers; `None` if they
    /// are a request to KVM, a real one or a broken one.
    #[inline]
    pub const fn number(self) -> Option<u32> {
        let carries = self.rax == NUMBER
            && self.rbx == GPA
            && self.rcx == PAGES
            && self.rdx >> 32 == MAGIC as u64;
        if carries {
            Some(self.rdx as u32)
        } else {
            None
        }
    }
}
