// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a guest was when KVM gave it up, in words: its registers, its segments, and the code
//! at which it stood.

use crate::memory::{CopyGuestMemory, VirtualMemory};
use crate::paging::AddressSpace;
use crate::vcpu::{mode_of, Cpl, Mode};
use kvm_bindings::{kvm_dtable, kvm_regs, kvm_segment, kvm_sregs};
use kvm_ioctls::VcpuFd;
use std::fmt;

/// The longest instruction (SDM volume 2, 2.3.11).
const LONGEST_INSTRUCTION: usize = 15;

/// CR0.PE, and where a processor stands after a reset (SDM volume 3, 11.1.1).
const PROTECTION_ENABLE: u64 = 1;
const RESET_RIP: u64 = 0xfff0;
const RESET_SELECTOR: u16 = 0xf000;

/// The state of a vCPU that will not run again.
#[derive(Debug)]
pub(super) struct PostMortem {
    vcpu_id: u32,
    registers: kvm_regs,
    special: kvm_sregs,
    /// What stands at rip, or why that cannot be read.
    code: Result<Vec<u8>, String>,
}

impl PostMortem {
    /// That of `vcpu`, whose guest has `memory`.
    pub(super) fn of(
        vcpu_id: u32,
        vcpu: &VcpuFd,
        memory: &dyn CopyGuestMemory,
    ) -> Result<Self, kvm_ioctls::Error> {
        Ok(Self::new(
            vcpu_id,
            vcpu.get_regs()?,
            vcpu.get_sregs()?,
            memory,
        ))
    }

    fn new(
        vcpu_id: u32,
        registers: kvm_regs,
        special: kvm_sregs,
        memory: &dyn CopyGuestMemory,
    ) -> Self {
        let rip = match mode_of(&special) {
            Mode::Bits64 => registers.rip,
            Mode::Bits32 => special.cs.base.wrapping_add(registers.rip) & u64::from(u32::MAX),
        };
        let space = AddressSpace::new((&special).into());
        let visible = VirtualMemory::new(memory, space, Cpl::KERNEL);
        Self {
            vcpu_id,
            registers,
            special,
            code: read_code(&visible, rip),
        }
    }

    /// Whether KVM has reset the vCPU, as it does after a triple fault on AMD's processors,
    /// where the state is lost.
    fn is_reset(&self) -> bool {
        self.registers.rip == RESET_RIP
            && self.special.cs.selector == RESET_SELECTOR
            && self.special.cr0 & PROTECTION_ENABLE == 0
    }

    fn write_place(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            vcpu_id,
            registers: kvm_regs { rip, rflags, .. },
            special: kvm_sregs { cs, ss, cr0, .. },
            ..
        } = self;
        let mode = match mode_of(&self.special) {
            Mode::Bits64 => "64-bit mode",
            Mode::Bits32 if cr0 & PROTECTION_ENABLE == 0 => "real mode",
            Mode::Bits32 if cs.db == 0 => "16-bit protected mode",
            Mode::Bits32 => "32-bit protected mode",
        };
        let cpl = ss.dpl;
        write!(
            formatter,
            "vCPU {vcpu_id} in {mode} at CPL {cpl}: rip {rip:#x}"
        )?;
        match &self.code {
            Ok(code) => {
                formatter.write_str(", where stands")?;
                code.iter()
                    .try_for_each(|byte| write!(formatter, " {byte:02x}"))?;
            }
            Err(reason) => write!(formatter, ", which cannot be read: {reason}")?,
        }
        write!(formatter, "; rflags {rflags:#x}")
    }

    fn write_registers(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kvm_regs {
            rax,
            rbx,
            rcx,
            rdx,
            rsi,
            rdi,
            rsp,
            rbp,
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
            ..
        } = self.registers;
        write!(
            formatter,
            "\n  rax {rax:#x}, rbx {rbx:#x}, rcx {rcx:#x}, rdx {rdx:#x}\
             \n  rsi {rsi:#x}, rdi {rdi:#x}, rbp {rbp:#x}, rsp {rsp:#x}\
             \n  r8 {r8:#x}, r9 {r9:#x}, r10 {r10:#x}, r11 {r11:#x}\
             \n  r12 {r12:#x}, r13 {r13:#x}, r14 {r14:#x}, r15 {r15:#x}"
        )
    }

    fn write_special(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kvm_sregs {
            cr0,
            cr2,
            cr3,
            cr4,
            efer,
            ..
        } = self.special;
        write!(
            formatter,
            "\n  cr0 {cr0:#x}, cr2 {cr2:#x}, cr3 {cr3:#x}, cr4 {cr4:#x}, efer {efer:#x}"
        )?;
        let segments = [
            ("cs", &self.special.cs),
            ("ss", &self.special.ss),
            ("ds", &self.special.ds),
            ("es", &self.special.es),
            ("fs", &self.special.fs),
            ("gs", &self.special.gs),
            ("tr", &self.special.tr),
        ];
        for (index, (name, segment)) in segments.into_iter().enumerate() {
            formatter.write_str(if index % 4 == 0 { "\n  " } else { ", " })?;
            let kvm_segment { selector, base, .. } = segment;
            write!(formatter, "{name} {selector:#x} at {base:#x}")?;
        }
        let tables = [("gdt", &self.special.gdt), ("idt", &self.special.idt)];
        for (name, kvm_dtable { base, limit, .. }) in tables {
            write!(formatter, ", {name} {limit:#x} at {base:#x}")?;
        }
        Ok(())
    }
}

impl fmt::Display for PostMortem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_reset() {
            write!(
                formatter,
                "vCPU {}, which KVM has reset: where it was is lost, as always on processors \
                 with SVM",
                self.vcpu_id
            )?;
            return Ok(());
        }
        self.write_place(formatter)?;
        self.write_registers(formatter)?;
        self.write_special(formatter)
    }
}

/// The instruction at `rip` and what follows, as far as it can be read.
fn read_code(memory: &VirtualMemory<'_>, rip: u64) -> Result<Vec<u8>, String> {
    let readable = memory
        .walk(rip)
        .map_err(|fault| fault.to_string())?
        .remaining();
    let all = LONGEST_INSTRUCTION;
    let here = usize::try_from(readable).map_or(all, |readable| readable.min(all));
    // What crosses into another page is shown if that can be read.
    let mut code = vec![0; all];
    if memory.read(rip, &mut code).is_err() {
        code.truncate(here);
        memory
            .read(rip, &mut code)
            .map_err(|fault| fault.to_string())?;
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hcall_abi::Gpa;
    use vm_memory::{GuestAddress, GuestMemoryMmap};

    const CODE: u64 = 0x0f0b_0000_0000_0000;

    fn memory() -> GuestMemoryMmap {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x2000)])
            .expect("two pages can be mapped");
        CopyGuestMemory::write(&memory, Gpa::new(0x1ff8), &CODE.to_be_bytes()).expect("memory");
        memory
    }

    fn protected_mode() -> kvm_sregs {
        let mut special = kvm_sregs {
            cr0: PROTECTION_ENABLE,
            cr2: 0xdead,
            ..Default::default()
        };
        special.cs.db = 1;
        special.cs.selector = 8;
        special
    }

    fn at(rip: u64, special: kvm_sregs) -> String {
        let registers = kvm_regs {
            rip,
            rax: 0xabc,
            rflags: 2,
            ..Default::default()
        };
        PostMortem::new(3, registers, special, &memory()).to_string()
    }

    #[test]
    fn it_says_where_and_what_stands_there() {
        let text = at(0x1ff8, protected_mode());
        assert!(
            text.starts_with(
                "vCPU 3 in 32-bit protected mode at CPL 0: rip 0x1ff8, where stands \
                 0f 0b 00 00 00 00 00 00; rflags 0x2\n  rax 0xabc, "
            ),
            "{text}"
        );
        for part in ["cr2 0xdead", "cs 0x8 at 0x0", "idt 0x0 at 0x0"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_code_segment_has_its_base() {
        let mut special = protected_mode();
        special.cs.base = 0x1000;
        let text = at(0xff8, special);
        assert!(text.contains("rip 0xff8, where stands 0f 0b"), "{text}");
    }

    #[test]
    fn code_that_is_not_there_is_said_so() {
        let text = at(0x2000, protected_mode());
        assert!(
            text.contains("rip 0x2000, which cannot be read: "),
            "{text}"
        );
    }

    #[test]
    fn a_state_that_is_lost_is_not_shown() {
        let mut special = kvm_sregs::default();
        special.cs.selector = RESET_SELECTOR;
        special.cs.base = 0xffff_0000;
        let text = at(RESET_RIP, special);
        assert!(text.contains("which KVM has reset"), "{text}");
        assert!(!text.contains("rip"), "{text}");
    }
}
