// SPDX-License-Identifier: MIT OR Apache-2.0
//! Special registers and interrupts, as a plugin in C has them.

use crate::building::{build_c, load};
use crate::fake_vcpu::{call, host, FakeVcpu, OFFERED};
use hcall_plugin::abi::SpecialRegisters;
use hcall_vmm::interrupts::{InterruptError, InterruptVector, Interrupts};
use hcall_vmm::{Disposition, Errno, HypercallHost, HypercallNumber, Transport};
use kvm_bindings::{kvm_dtable, kvm_segment, kvm_sregs};
use std::mem::{offset_of, size_of};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const SPECIAL: HypercallNumber = HypercallNumber::user(0x304);
const INJECT: HypercallNumber = HypercallNumber::user(0x305);
const MISUSE: HypercallNumber = HypercallNumber::user(0x306);

/// Where the guest has the structure.
const PLACE: u64 = 0x2000;
const SIZE: usize = size_of::<SpecialRegisters>();

fn errno(errno: Errno) -> i64 {
    -i64::from(errno.get())
}

fn register(host: &HypercallHost) {
    static OBJECT: OnceLock<PathBuf> = OnceLock::new();
    let object = OBJECT.get_or_init(|| build_c("vmm-host/tests/plugin/context.c", &["-pthread"]));
    load(object)
        .register(host.hypercalls())
        .expect("the numbers are free");
}

/// Registers of which no two fields are the same.
fn distinct() -> kvm_sregs {
    let segment = |base: u64| kvm_segment {
        base: base << 32,
        limit: base as u32 + 1,
        selector: base as u16 + 2,
        type_: base as u8 + 3,
        present: base as u8 + 4,
        dpl: base as u8 + 5,
        db: base as u8 + 6,
        s: base as u8 + 7,
        l: base as u8 + 8,
        g: base as u8 + 9,
        avl: base as u8 + 10,
        unusable: base as u8 + 11,
        padding: 0,
    };
    let table = |base: u64| kvm_dtable {
        base: base << 32,
        limit: base as u16 + 1,
        padding: [0; 3],
    };
    kvm_sregs {
        cs: segment(0x10),
        ds: segment(0x20),
        es: segment(0x30),
        fs: segment(0x40),
        gs: segment(0x50),
        ss: segment(0x60),
        tr: segment(0x70),
        ldt: segment(0x80),
        gdt: table(0x90),
        idt: table(0xa0),
        cr0: 0xb0,
        cr2: 0xb2,
        cr3: 0xb3,
        cr4: 0xb4,
        cr8: 0xb8,
        efer: 0xc0,
        apic_base: 0xd0,
        interrupt_bitmap: [1, 2, 3, 4],
    }
}

/// The structure of the contract, written by hand from `hcall_plugin.h`.
fn structure(registers: &kvm_sregs) -> Vec<u8> {
    let kvm_sregs { cs, ds, es, fs, .. } = *registers;
    let kvm_sregs {
        gs, ss, tr, ldt, ..
    } = *registers;
    let mut bytes = Vec::new();
    for segment in [cs, ds, es, fs, gs, ss, tr, ldt] {
        bytes.extend(segment.base.to_le_bytes());
        bytes.extend(segment.limit.to_le_bytes());
        bytes.extend(segment.selector.to_le_bytes());
        let kvm_segment {
            type_,
            present,
            dpl,
            db,
            ..
        } = segment;
        let kvm_segment {
            s,
            l,
            g,
            avl,
            unusable,
            ..
        } = segment;
        bytes.extend([type_, present, dpl, db, s, l, g, avl, unusable, 0]);
    }
    for table in [registers.gdt, registers.idt] {
        bytes.extend(table.base.to_le_bytes());
        bytes.extend(table.limit.to_le_bytes());
        bytes.extend([0; 6]);
    }
    let kvm_sregs {
        cr0,
        cr2,
        cr3,
        cr4,
        cr8,
        ..
    } = *registers;
    let control = [cr0, cr2, cr3, cr4, cr8, registers.efer, registers.apic_base];
    bytes.extend(control.iter().flat_map(|register| register.to_le_bytes()));
    bytes
}

/// Makes the call of a vCPU with these registers; its answer, and those that it has then.
fn special(
    host: &HypercallHost,
    registers: Option<kvm_sregs>,
    set: u64,
) -> (i64, Option<kvm_sregs>) {
    let mut vcpu = FakeVcpu::new();
    vcpu.special.set(registers);
    vcpu.trap(SPECIAL.get().into(), [PLACE, set, 0, 0]);
    let disposition = host.dispatch(&mut vcpu, 0, Transport::Instruction);
    assert_eq!(disposition, Disposition::Resume);
    (vcpu.answer(), vcpu.special.get())
}

fn host_with_plugin() -> (HypercallHost, GuestMemoryMmap) {
    let (host, memory) = host();
    register(&host);
    (host, memory)
}

#[test]
fn special_registers_are_read_field_by_field() {
    let (host, memory) = host_with_plugin();
    let (answer, _) = special(&host, Some(distinct()), 0);
    assert_eq!(answer, 0);
    let mut bytes = vec![0; SIZE];
    memory.read_slice(&mut bytes, GuestAddress(PLACE)).unwrap();
    assert_eq!(bytes, structure(&distinct()));
}

#[test]
fn special_registers_are_set_field_by_field() {
    let (host, memory) = host_with_plugin();
    let bytes = structure(&distinct());
    memory.write_slice(&bytes, GuestAddress(PLACE)).unwrap();
    // The interrupts that wait to be taken are no plugin's to say.
    let before = kvm_sregs {
        interrupt_bitmap: [5, 6, 7, 8],
        ..Default::default()
    };
    let (answer, after) = special(&host, Some(before), 1);
    assert_eq!(answer, 0);
    let due = kvm_sregs {
        interrupt_bitmap: [5, 6, 7, 8],
        ..distinct()
    };
    assert_eq!(after, Some(due));
}

#[test]
fn reserved_fields_must_be_zero() {
    let (host, memory) = host_with_plugin();
    let reserved_of_table = offset_of!(hcall_plugin::DescriptorTable, reserved);
    let reserved_of_segment = offset_of!(hcall_plugin::Segment, reserved);
    for offset in [
        offset_of!(SpecialRegisters, cs) + reserved_of_segment,
        offset_of!(SpecialRegisters, ldt) + reserved_of_segment,
        offset_of!(SpecialRegisters, gdt) + reserved_of_table,
        offset_of!(SpecialRegisters, idt) + reserved_of_table + 5,
    ] {
        let mut bytes = structure(&distinct());
        bytes[offset] = 1;
        memory.write_slice(&bytes, GuestAddress(PLACE)).unwrap();
        let (answer, after) = special(&host, Some(kvm_sregs::default()), 1);
        assert_eq!(answer, errno(Errno::EINVAL), "{offset}");
        assert_eq!(after, Some(kvm_sregs::default()), "{offset}");
    }
}

#[test]
fn special_registers_are_kvm_s_to_say() {
    let (host, _memory) = host_with_plugin();
    for set in [0, 1] {
        let (answer, after) = special(&host, None, set);
        assert_eq!((answer, after), (errno(Errno::EIO), None));
    }
    for what in [0, 1, 2, 3] {
        let answer = call(&host, MISUSE.get(), [what, 0, 0, 0]);
        assert_eq!(answer, errno(Errno::EFAULT), "{what}");
    }
}

/// Two vCPUs that take what they are given.
#[derive(Clone, Default)]
struct Given(Arc<Mutex<Vec<(u32, u8)>>>);

impl Interrupts for Given {
    fn inject(&self, vcpu_id: u32, vector: InterruptVector) -> Result<(), InterruptError> {
        if vcpu_id > 1 {
            return Err(InterruptError::NotTaken(vcpu_id));
        }
        self.0.lock().unwrap().push((vcpu_id, vector.get()));
        Ok(())
    }
}

#[test]
fn interrupts_are_given() {
    let given = Given::default();
    let (_, memory) = host();
    let host = HypercallHost::without_kvm(memory, OFFERED).with_interrupts(given.clone());
    register(&host);
    for (vcpu, vector, due) in [
        (0, 0x40, 0),
        (1, 0xff, 0),
        (1, 16, 0),
        (1, 15, errno(Errno::EINVAL)),
        (2, 0x40, errno(Errno::ENXIO)),
    ] {
        let answer = call(&host, INJECT.get(), [vcpu, vector, 0, 0]);
        assert_eq!(answer, due, "{vector} to {vcpu}");
    }
    let given = given.0.lock().unwrap();
    assert_eq!(*given, [(0, 0x40), (1, 0xff), (1, 16)]);
}

#[test]
fn where_the_vmm_offers_no_interrupts() {
    let (host, _memory) = host_with_plugin();
    let answer = call(&host, INJECT.get(), [0, 0x40, 0, 0]);
    assert_eq!(answer, errno(Errno::EOPNOTSUPP));
}
