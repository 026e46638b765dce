// SPDX-License-Identifier: MIT OR Apache-2.0
//! Dispatch: from an exit to a handler and back, with every way to be refused.

use crate::fake_vcpu::{call, host, FakeVcpu};
use hcall_abi::result::KVM_ENOSYS_RESULT;
use hcall_abi::{Errno, HypercallNumber, Transport};
use hcall_vmm::{Callers, Disposition, Mode, StopReason};
use std::sync::Arc;

const SUM: HypercallNumber = HypercallNumber::user(1);

fn errno(errno: Errno) -> i64 {
    -i64::from(errno.get())
}

#[test]
fn handler_sees_every_argument_and_its_answer_comes_back() {
    let (host, _memory) = host();
    host.hypercalls()
        .register(SUM, |call| Ok(call.args().into_iter().sum()))
        .unwrap();
    for transport in Transport::ALL {
        let mut vcpu = FakeVcpu::new();
        match transport {
            Transport::Instruction => vcpu.trap(SUM.get().into(), [1, 20, 300, 4000]),
            Transport::Carrier => vcpu.carry(SUM.get(), [1, 20, 300, 4000]),
            _ => vcpu.out(SUM.get().into(), [1, 20, 300, 4000]),
        }
        assert_eq!(host.dispatch(&mut vcpu, 0, transport), Disposition::Resume);
        assert_eq!(vcpu.answer(), 4321);
        assert_eq!(host.counters().calls(transport), 1);
    }
    // KVM stores the result of an instruction; registers go back for the port only.
    let stats = host.counters().read();
    assert_eq!((stats.calls, stats.failed, stats.unknown), (3, 0, 0));
}

#[test]
fn instruction_leaves_the_shared_registers_clean() {
    let (host, _memory) = host();
    host.hypercalls().register(SUM, |_| Ok(5)).unwrap();
    let mut vcpu = FakeVcpu::new();
    vcpu.trap(SUM.get().into(), [0; 4]);
    let before = vcpu.registers();
    assert_eq!(
        host.dispatch(&mut vcpu, 0, Transport::Instruction),
        Disposition::Resume
    );
    assert_eq!(vcpu.registers(), before);
    assert_eq!(vcpu.dirty_registers(), 0);
}

#[test]
fn caller_in_32_bit_mode_has_32_bit_arguments() {
    let (host, _memory) = host();
    host.hypercalls()
        .register(SUM, |call| {
            assert_eq!(call.args(), [0xffff_ffff, 2, 3, 4]);
            Ok(0)
        })
        .unwrap();
    let mut vcpu = FakeVcpu::new();
    let high = 0xdead_beef_0000_0000;
    let number = high | u64::from(SUM.get());
    vcpu.trap_32(number, [high | 0xffff_ffff, high | 2, high | 3, high | 4]);
    assert_eq!(
        host.dispatch(&mut vcpu, 0, Transport::Instruction),
        Disposition::Resume
    );
    assert_eq!(vcpu.answer(), 0);
}

/// Over either transport of 32-bit mode: what eax cannot hold is an overflow.
#[test]
fn callers_in_32_bit_mode_get_32_bit_results() {
    let (host, _memory) = host();
    host.hypercalls()
        .register(SUM, |call| match call.arg::<0>() {
            1 => Err(Errno::EPERM),
            shift => Ok((1 << shift) - 1),
        })
        .unwrap();
    for (argument, due) in [
        (31, 0x7fff_ffff),
        (32, errno(Errno::EOVERFLOW)),
        (63, errno(Errno::EOVERFLOW)),
        (1, errno(Errno::EPERM)),
    ] {
        let mut vcpu = FakeVcpu::new();
        vcpu.trap_32(SUM.get().into(), [argument, 0, 0, 0]);
        let disposition = host.dispatch(&mut vcpu, 0, Transport::Instruction);
        assert_eq!(disposition, Disposition::Resume);
        assert_eq!(vcpu.answer(), due, "by the instruction, 2^{argument} - 1");

        let mut vcpu = FakeVcpu::new();
        vcpu.mode = Some(Mode::Bits32);
        vcpu.out(SUM.get().into(), [argument, 0, 0, 0]);
        let disposition = host.dispatch(&mut vcpu, 0, Transport::Port);
        assert_eq!(disposition, Disposition::Resume);
        assert_eq!(vcpu.answer(), due, "over the port, 2^{argument} - 1");
    }
}

#[test]
fn kvm_is_asked_for_the_mode_only_where_the_answer_depends_on_it() {
    let (host, _memory) = host();
    host.hypercalls()
        .register(SUM, |call| Ok(call.arg::<0>()))
        .unwrap();
    for (argument, due) in [(0x7fff_ffff, 0x7fff_ffff), (0x8000_0000, errno(Errno::EIO))] {
        let mut vcpu = FakeVcpu::new();
        vcpu.mode = None;
        vcpu.out(SUM.get().into(), [argument, 0, 0, 0]);
        let disposition = host.dispatch(&mut vcpu, 0, Transport::Port);
        assert_eq!(disposition, Disposition::Resume);
        assert_eq!(vcpu.answer(), due);
    }
}

#[test]
fn numbers_without_a_handler_are_answered_and_counted() {
    let (host, _memory) = host();
    assert_eq!(call(&host, SUM.get(), [0; 4]), errno(Errno::ENOSYS));
    assert_eq!(call(&host, 0x3000, [0; 4]), errno(Errno::ENOSYS));
    // Never usable: Xen's and Hyper-V's, should the kernel let one through.
    assert_eq!(call(&host, 17, [0; 4]), errno(Errno::ENOSYS));
    assert_eq!(call(&host, 1 << 31, [0; 4]), errno(Errno::ENOSYS));
    assert_eq!(host.counters().read().unknown, 4);
    assert_eq!(host.counters().unusable(), 2);
}

#[test]
fn numbers_outside_hcalls_ranges_are_answered_once_and_counted_once() {
    let (host, _memory) = host();
    let foreign = HypercallNumber::new(0x3000).unwrap();
    host.hypercalls()
        .register(foreign, |call| {
            Ok(u64::from(call.number().get()) + call.arg::<0>())
        })
        .unwrap();
    assert_eq!(call(&host, 0x3000, [1, 0, 0, 0]), 0x3001);
    let stats = host.counters().read();
    assert_eq!((stats.calls, stats.unknown), (1, 0));
}

#[test]
fn kvms_own_numbers_are_answered_as_kvm_does() {
    let (host, _memory) = host();
    for number in 0..=12 {
        assert_eq!(call(&host, number, [0; 4]), KVM_ENOSYS_RESULT);
    }
    assert_eq!(host.counters().read().unknown, 0);
    assert_eq!(host.counters().unusable(), 13);
}

#[test]
fn upper_half_of_the_number_must_be_zero() {
    let (host, _memory) = host();
    host.hypercalls().register(SUM, |_| Ok(0)).unwrap();
    for transport in [Transport::Instruction, Transport::Port] {
        let mut vcpu = FakeVcpu::new();
        let number = (1 << 32) | u64::from(SUM.get());
        match transport {
            Transport::Instruction => vcpu.trap(number, [0; 4]),
            _ => vcpu.out(number, [0; 4]),
        }
        assert_eq!(host.dispatch(&mut vcpu, 0, transport), Disposition::Resume);
        assert_eq!(vcpu.answer(), errno(Errno::EINVAL));
    }
}

#[test]
fn processes_are_refused_unless_the_vm_or_the_handler_says_otherwise() {
    const OPEN: HypercallNumber = HypercallNumber::user(2);
    const CLOSED: HypercallNumber = HypercallNumber::user(3);
    const UNKNOWN: HypercallNumber = HypercallNumber::user(4);
    let answers = |callers| {
        let (host, _memory) = host();
        let host = host.with_callers(callers);
        let table = host.hypercalls();
        table
            .register(SUM, |call| Ok(call.cpl()?.get().into()))
            .unwrap();
        table
            .register_for(Callers::AnyPrivilegeLevel, OPEN, |_| Ok(7))
            .unwrap();
        table
            .register_for(Callers::KernelOnly, CLOSED, |_| Ok(8))
            .unwrap();
        let answers = [SUM, OPEN, CLOSED, UNKNOWN].map(|number| {
            let mut vcpu = FakeVcpu::new();
            vcpu.cpl = 3;
            vcpu.trap(number.get().into(), [0; 4]);
            assert_eq!(
                host.dispatch(&mut vcpu, 0, Transport::Instruction),
                Disposition::Resume
            );
            vcpu.answer()
        });
        (answers, host.counters().read().refused)
    };
    let refused = errno(Errno::EPERM);
    assert_eq!(
        answers(Callers::KernelOnly),
        ([refused, 7, refused, refused], 3)
    );
    let unknown = errno(Errno::ENOSYS);
    assert_eq!(
        answers(Callers::AnyPrivilegeLevel),
        ([3, 7, refused, unknown], 1)
    );
}

#[test]
fn handler_that_panics_costs_one_call() {
    let (host, _memory) = host();
    host.hypercalls()
        .register(SUM, |call| match call.arg::<0>() {
            0 => panic!("on purpose"),
            value => Ok(value),
        })
        .unwrap();
    assert_eq!(call(&host, SUM.get(), [0; 4]), errno(Errno::EIO));
    assert_eq!(call(&host, SUM.get(), [9, 0, 0, 0]), 9);
    assert_eq!(host.counters().read().panicked, 1);
}

#[test]
fn payload_that_looks_like_a_failure_is_one() {
    let (host, _memory) = host();
    host.hypercalls().register(SUM, |_| Ok(u64::MAX)).unwrap();
    assert_eq!(call(&host, SUM.get(), [0; 4]), errno(Errno::ERANGE));
}

#[test]
fn handlers_end_the_vm_with_an_answer_in_place() {
    let (host, _memory) = host();
    host.hypercalls()
        .register(SUM, |call| {
            match call.arg::<0>() {
                0 => call.request_exit(3),
                _ => call.request_panic("words".into()),
            }
            Ok(0)
        })
        .unwrap();
    let mut vcpu = FakeVcpu::new();
    vcpu.trap(SUM.get().into(), [0; 4]);
    let exit = host.dispatch(&mut vcpu, 0, Transport::Instruction);
    assert_eq!(exit, Disposition::Stop(StopReason::Exit(3)));
    vcpu.trap(SUM.get().into(), [1, 0, 0, 0]);
    let panic = host.dispatch(&mut vcpu, 0, Transport::Instruction);
    assert_eq!(panic, Disposition::Stop(StopReason::Panic("words".into())));
}

#[test]
fn handler_reads_and_writes_registers_but_not_the_calls_own() {
    let (host, _memory) = host();
    host.hypercalls()
        .register(SUM, |call| {
            let mut registers = call.registers()?;
            assert_eq!((registers.rbx, registers.rip), (5, 0x1000));
            registers.r12 = 77;
            registers.rip = 0;
            call.set_registers(&registers)?;
            Ok(1)
        })
        .unwrap();
    let mut vcpu = FakeVcpu::new();
    vcpu.trap(SUM.get().into(), [5, 0, 0, 0]);
    assert_eq!(
        host.dispatch(&mut vcpu, 0, Transport::Instruction),
        Disposition::Resume
    );
    assert_eq!(vcpu.registers().r12, 77);
    assert_eq!(vcpu.registers().rip, 0x1000);
    assert_ne!(vcpu.dirty_registers(), 0);
}

#[test]
fn handler_translates_addresses() {
    let (host, _memory) = host();
    host.hypercalls()
        .register(SUM, |call| Ok(call.translate(call.arg::<0>())?.get()))
        .unwrap();
    assert_eq!(call(&host, SUM.get(), [0x234, 0, 0, 0]), 0x234);
    assert_eq!(
        call(&host, SUM.get(), [u64::MAX, 0, 0, 0]),
        errno(Errno::EFAULT)
    );
}

#[test]
fn xen_exits_of_another_kind_are_not_calls() {
    let (host, _memory) = host();
    let mut vcpu = FakeVcpu::new();
    vcpu.trap(SUM.get().into(), [0; 4]);
    hcall_vmm::hypercall::Vcpu::kvm_run(&mut vcpu)
        .__bindgen_anon_1
        .xen
        .type_ = 99;
    assert_eq!(
        host.dispatch(&mut vcpu, 0, Transport::Instruction),
        Disposition::Resume
    );
    assert_eq!(host.counters().read().calls, 0);
}

#[test]
fn a_vcpu_that_remembers_the_table_sees_every_change_of_it() {
    let (host, _) = host();
    let mut calls = host.vcpu_calls(3);
    let mut call = || {
        let mut vcpu = FakeVcpu::new();
        vcpu.trap(SUM.get().into(), [0; 4]);
        let disposition = calls.dispatch(&mut vcpu, Transport::Instruction);
        assert_eq!(disposition, Disposition::Resume);
        vcpu.answer()
    };
    let unknown = errno(Errno::ENOSYS);
    assert_eq!(call(), unknown);
    host.hypercalls()
        .register(SUM, |call| Ok(call.vcpu_id().map_or(u64::MAX, u64::from)))
        .expect("the number is free");
    assert_eq!(call(), 3);
    host.hypercalls()
        .replace(SUM, |_| Ok(4))
        .expect("it has a handler");
    assert_eq!(call(), 4);
    host.hypercalls().remove(SUM).expect("it has a handler");
    assert_eq!(call(), unknown);
}

#[test]
fn a_removed_handler_is_dropped_once_no_vcpu_remembers_it() {
    let (host, _) = host();
    let state = Arc::new(());
    let held = Arc::clone(&state);
    host.hypercalls()
        .register(SUM, move |_| Ok(Arc::strong_count(&held) as u64))
        .expect("the number is free");
    let mut calls = host.vcpu_calls(0);
    host.hypercalls().remove(SUM).expect("it has a handler");
    assert_eq!(Arc::strong_count(&state), 2);
    let mut vcpu = FakeVcpu::new();
    vcpu.trap(SUM.get().into(), [0; 4]);
    assert_eq!(
        calls.dispatch(&mut vcpu, Transport::Instruction),
        Disposition::Resume
    );
    assert_eq!(Arc::strong_count(&state), 1);
}

#[test]
fn calls_of_every_vcpu_are_counted() {
    let (host, _) = host();
    for vcpu_id in [0, 1, 63, 64, 1_000, u32::MAX] {
        let mut vcpu = FakeVcpu::new();
        vcpu.trap(SUM.get().into(), [0; 4]);
        let disposition = host.dispatch(&mut vcpu, vcpu_id, Transport::Instruction);
        assert_eq!(disposition, Disposition::Resume);
    }
    let stats = host.counters().read();
    assert_eq!((stats.calls, stats.instruction, stats.unknown), (6, 6, 6));
}
