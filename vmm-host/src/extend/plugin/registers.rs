// SPDX-License-Identifier: MIT OR Apache-2.0
//! Registers as KVM and as plugins have them, field by field, both ways.

use hcall_abi::Errno;
use hcall_plugin::abi::{DescriptorTable, Registers, Segment, SpecialRegisters};
use kvm_bindings::{kvm_dtable, kvm_regs, kvm_segment, kvm_sregs};

macro_rules! general {
    ($($name:ident)+) => {
        pub(super) fn for_plugin(registers: &kvm_regs) -> Registers {
            Registers { $($name: registers.$name),+ }
        }

        pub(super) fn for_kvm(registers: &Registers) -> kvm_regs {
            kvm_regs { $($name: registers.$name),+ }
        }
    };
}

general!(rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags);

macro_rules! segment {
    ($($name:ident)+) => {
        fn segment_for_plugin(segment: &kvm_segment) -> Segment {
            Segment { segment_type: segment.type_, $($name: segment.$name,)+ reserved: 0 }
        }

        fn segment_for_kvm(segment: &Segment) -> Result<kvm_segment, Errno> {
            if segment.reserved != 0 {
                return Err(Errno::EINVAL);
            }
            Ok(kvm_segment { type_: segment.segment_type, $($name: segment.$name,)+ padding: 0 })
        }
    };
}

segment!(base limit selector present dpl db s l g avl unusable);

fn table_for_plugin(table: &kvm_dtable) -> DescriptorTable {
    DescriptorTable {
        base: table.base,
        limit: table.limit,
        reserved: [0; 3],
    }
}

fn table_for_kvm(table: &DescriptorTable) -> Result<kvm_dtable, Errno> {
    if table.reserved != [0; 3] {
        return Err(Errno::EINVAL);
    }
    Ok(kvm_dtable {
        base: table.base,
        limit: table.limit,
        padding: [0; 3],
    })
}

macro_rules! special {
    (segments: $($segment:ident)+; tables: $($table:ident)+; control: $($control:ident)+) => {
        pub(super) fn special_for_plugin(registers: &kvm_sregs) -> SpecialRegisters {
            SpecialRegisters {
                $($segment: segment_for_plugin(&registers.$segment),)+
                $($table: table_for_plugin(&registers.$table),)+
                $($control: registers.$control,)+
            }
        }

        /// Puts a plugin's into KVM's, whose interrupts that wait to be taken stay.
        ///
        /// # Errors
        ///
        /// EINVAL if anything reserved is not 0.
        pub(super) fn set_special(
            registers: &mut kvm_sregs,
            from: &SpecialRegisters,
        ) -> Result<(), Errno> {
            *registers = kvm_sregs {
                $($segment: segment_for_kvm(&from.$segment)?,)+
                $($table: table_for_kvm(&from.$table)?,)+
                $($control: from.$control,)+
                interrupt_bitmap: registers.interrupt_bitmap,
            };
            Ok(())
        }
    };
}

special! {
    segments: cs ds es fs gs ss tr ldt;
    tables: gdt idt;
    control: cr0 cr2 cr3 cr4 cr8 efer apic_base
}
