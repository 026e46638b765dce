// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory by guest-virtual address: across pages, with the caller's rights, all or nothing.

use crate::fake_vcpu::FakeVcpu;
use crate::page_tables::{
    PageTables, LARGE, MEMORY_BYTES, PRESENT, TABLES, USERS, WRITABLE, WRITE_PROTECT,
};
use hcall_abi::{Errno, Gpa, HypercallNumber, Transport, TransportSet};
use hcall_vmm::hypercall::Cpl;
use hcall_vmm::memory::{CopyGuestMemory, OutsideMemory, VirtualMemory};
use hcall_vmm::paging::{Level, PageFault, PagingMode};
use hcall_vmm::{Disposition, Hypercall, HypercallHost, HypercallResult};
use kvm_bindings::kvm_sregs;
use proptest::prelude::*;
use vm_memory::{Bytes, GuestAddress};

const GVA: u64 = 0xffff_8000_0040_0000;
const PAGE: u64 = 0x1000;
/// Two pages one after the other, mapped to frames that are not.
const FRAMES: [u64; 2] = [0x7000, 0x3000];

/// Both pages mapped with these bits; nothing after them.
fn two_pages(bits: [u64; 2]) -> PageTables {
    let mut tables = PageTables::new(PagingMode::FourLevel);
    tables.registers.cr0 |= WRITE_PROTECT;
    for (index, (frame, bits)) in FRAMES.into_iter().zip(bits).enumerate() {
        tables.map(GVA + index as u64 * PAGE, frame, Level::Table, bits);
    }
    tables
}

fn virtual_memory(tables: &PageTables, cpl: u32) -> VirtualMemory<'_> {
    VirtualMemory::new(&tables.memory, tables.space(), Cpl::from_low_bits(cpl))
}

fn physical(tables: &PageTables, gpa: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    CopyGuestMemory::read(&tables.memory, Gpa::new(gpa), &mut bytes).expect("it is memory");
    bytes
}

#[test]
fn a_buffer_may_cross_pages() {
    let tables = two_pages([WRITABLE; 2]);
    let memory = virtual_memory(&tables, 0);
    let gva = GVA + PAGE - 3;
    memory.write(gva, b"abcdef").expect("it may be written");
    assert_eq!(physical(&tables, FRAMES[0] + PAGE - 3, 3), b"abc");
    assert_eq!(physical(&tables, FRAMES[1], 3), b"def");
    let mut bytes = [0; 6];
    memory.read(gva, &mut bytes).expect("it may be read");
    assert_eq!(&bytes, b"abcdef");
}

#[test]
fn nothing_is_written_unless_all_can_be() {
    let read_only = two_pages([WRITABLE, 0]);
    let unmapped = two_pages([WRITABLE, WRITABLE]);
    let end = GVA + 2 * PAGE;
    for (tables, gva, due) in [
        (&read_only, GVA + PAGE - 3, PageFault::ReadOnly),
        (&unmapped, end - 3, PageFault::NotPresent(Level::Table)),
    ] {
        let before = physical(tables, 0, TABLES as usize);
        assert_eq!(virtual_memory(tables, 0).write(gva, b"abcdef"), Err(due));
        assert_eq!(physical(tables, 0, TABLES as usize), before);
    }
    // Without write protection, the supervisor writes where it may only read.
    let mut tables = two_pages([WRITABLE, 0]);
    tables.registers.cr0 &= !WRITE_PROTECT;
    let written = virtual_memory(&tables, 0).write(GVA + PAGE - 3, b"abcdef");
    assert_eq!(written, Ok(()));
}

#[test]
fn a_process_has_its_own_pages_only() {
    let tables = two_pages([WRITABLE | USERS, WRITABLE]);
    let process = virtual_memory(&tables, 3);
    let mut bytes = [0; 8];
    assert_eq!(process.read(GVA + PAGE - 8, &mut bytes), Ok(()));
    assert_eq!(process.write(GVA + PAGE - 8, &bytes), Ok(()));
    let due = Err(PageFault::SupervisorOnly);
    assert_eq!(process.read(GVA + PAGE - 4, &mut bytes), due);
    assert_eq!(process.write(GVA + PAGE - 4, &bytes), due);
    assert_eq!(process.read(GVA + PAGE, &mut bytes), due);
}

#[test]
fn pages_that_are_no_memory_are_a_fault() {
    let mut tables = PageTables::new(PagingMode::FourLevel);
    let large = tables.entry(GVA, Level::Directory);
    // Two MiB from 0 on: most of them are not there.
    tables.write(large, PRESENT | LARGE | WRITABLE);
    let memory = virtual_memory(&tables, 0);
    let length = 16;
    let gpa = Gpa::new(MEMORY_BYTES as u64 - 8);
    let due = PageFault::OutsideMemory(OutsideMemory { gpa, length });
    let gva = GVA + gpa.get();
    assert_eq!(memory.write(gva, &[1; 16]), Err(due));
    assert_eq!(memory.read(gva, &mut [0; 16]), Err(due));
    assert_eq!(physical(&tables, gpa.get(), 8), [0; 8]);
}

#[test]
fn buffers_do_not_wrap_around() {
    let mut tables = PageTables::new(PagingMode::FourLevel);
    tables.map(u64::MAX - PAGE + 1, 0x3000, Level::Table, WRITABLE);
    tables.map(0, 0x5000, Level::Table, WRITABLE);
    let memory = virtual_memory(&tables, 0);
    let gva = u64::MAX - 3;
    assert_eq!(memory.write(gva, &[1; 4]), Ok(()));
    assert_eq!(memory.write(gva, &[2; 5]), Err(PageFault::NoSuchAddress));
    assert_eq!(physical(&tables, 0x3ffc, 4), [1; 4]);

    let mut tables = PageTables::new(PagingMode::Bits32);
    tables.map(0xffff_f000, 0x3000, Level::Table, WRITABLE);
    tables.map(0, 0x5000, Level::Table, WRITABLE);
    let found = virtual_memory(&tables, 0).read(0xffff_fffc, &mut [0; 5]);
    assert_eq!(found, Err(PageFault::NoSuchAddress));
}

#[test]
fn nothing_is_nothing_wherever_it_is() {
    let tables = two_pages([0; 2]);
    let memory = virtual_memory(&tables, 3);
    assert_eq!(memory.read(1 << 63, &mut []), Ok(()));
    assert_eq!(memory.write(1 << 63, &[]), Ok(()));
}

proptest! {
    /// Against the same bytes in one piece.
    #[test]
    fn what_is_written_is_read(
        offset in 0..2 * PAGE, length in 0..2 * PAGE as usize, seed: u8,
    ) {
        let tables = two_pages([WRITABLE; 2]);
        let memory = virtual_memory(&tables, 0);
        let bytes: Vec<u8> = (0..length).map(|index| (index as u8) ^ seed).collect();
        let written = memory.write(GVA + offset, &bytes);
        prop_assert_eq!(written.is_ok(), offset + length as u64 <= 2 * PAGE);
        let both = [physical(&tables, FRAMES[0], PAGE as usize),
            physical(&tables, FRAMES[1], PAGE as usize)].concat();
        let mut due = vec![0; 2 * PAGE as usize];
        if written.is_ok() {
            due[offset as usize..][..length].copy_from_slice(&bytes);
            let mut read = vec![0; length];
            prop_assert_eq!(memory.read(GVA + offset, &mut read), Ok(()));
            prop_assert_eq!(read, bytes);
        }
        prop_assert_eq!(both, due);
    }
}

const NUMBER: HypercallNumber = HypercallNumber::user(1);

/// What a call at `cpl` is answered by `handler`, where the vCPU has these tables.
fn call(
    tables: &PageTables,
    cpl: u32,
    transport: Transport,
    handler: impl Fn(&mut Hypercall<'_>) -> HypercallResult + Send + Sync + 'static,
) -> i64 {
    let offered = TransportSet::EMPTY.with(transport);
    let host = HypercallHost::without_kvm(tables.memory.clone(), offered)
        .with_callers(hcall_vmm::Callers::AnyPrivilegeLevel);
    host.hypercalls()
        .register(NUMBER, handler)
        .expect("the number is free");
    let mut vcpu = FakeVcpu::new();
    vcpu.cpl = cpl;
    let mut special = kvm_sregs {
        cr0: tables.registers.cr0,
        cr3: tables.registers.cr3,
        cr4: tables.registers.cr4,
        efer: tables.registers.efer,
        ..Default::default()
    };
    special.ss.dpl = cpl as u8;
    vcpu.special.set(Some(special));
    match transport {
        Transport::Port => vcpu.out(NUMBER.get().into(), [GVA, 0, 0, 0]),
        _ => vcpu.trap(NUMBER.get().into(), [GVA, 0, 0, 0]),
    }
    let disposition = host.dispatch(&mut vcpu, 0, transport);
    assert_eq!(disposition, Disposition::Resume);
    vcpu.answer()
}

#[test]
fn handlers_have_the_rights_of_their_callers() {
    let tables = two_pages([WRITABLE | USERS, WRITABLE]);
    tables
        .memory
        .write_slice(&[7], GuestAddress(FRAMES[1]))
        .expect("it is memory");
    for transport in [Transport::Instruction, Transport::Port] {
        let answer = |cpl| {
            call(&tables, cpl, transport, |call| {
                let mut byte = [0];
                call.read_virtual(call.arg::<0>() + PAGE, &mut byte)?;
                call.write_virtual(call.arg::<0>() + PAGE, &byte)?;
                Ok(byte[0].into())
            })
        };
        assert_eq!(answer(0), 7);
        assert_eq!(answer(3), -i64::from(Errno::EFAULT.get()));
    }
}

#[test]
fn handlers_walk_and_see_why_not() {
    let tables = two_pages([USERS, 0]);
    let answer = call(&tables, 3, Transport::Instruction, |call| {
        let memory = call.virtual_memory()?;
        let [gva, ..] = call.args();
        let fault = memory.read(gva + PAGE, &mut [0]);
        assert_eq!(fault, Err(PageFault::SupervisorOnly));
        let fault = memory.walk(gva + 2 * PAGE);
        assert_eq!(fault, Err(PageFault::NotPresent(Level::Table)));
        assert_eq!(call.walk(gva + 2 * PAGE), Err(Errno::EFAULT));
        Ok(call.walk(gva)?.gpa().get())
    });
    assert_eq!(answer, FRAMES[0] as i64);
}

#[test]
fn handlers_read_and_write_special_registers() {
    let tables = two_pages([USERS, 0]);
    let answer = call(&tables, 0, Transport::Instruction, |call| {
        let mut registers = call.special_registers()?;
        registers.gs.base = 0x5000;
        call.set_special_registers(&registers)?;
        Ok(call.special_registers()?.gs.base)
    });
    assert_eq!(answer, 0x5000);
}

#[test]
fn a_kvm_that_does_not_say_is_eio() {
    let (host, _memory) = crate::fake_vcpu::host();
    host.hypercalls()
        .register(NUMBER, |call| {
            assert_eq!(call.special_registers().err(), Some(Errno::EIO));
            let registers = kvm_sregs::default();
            assert_eq!(call.set_special_registers(&registers), Err(Errno::EIO));
            assert_eq!(call.walk(0), Err(Errno::EIO));
            assert_eq!(call.write_virtual(0, &[1]), Err(Errno::EIO));
            call.read_virtual(0, &mut [0])?;
            Ok(0)
        })
        .expect("the number is free");
    let answer = crate::fake_vcpu::call(&host, NUMBER.get(), [0; 4]);
    assert_eq!(answer, -i64::from(Errno::EIO.get()));
}
