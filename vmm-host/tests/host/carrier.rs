// SPDX-License-Identifier: MIT OR Apache-2.0
//! The carrier: a call in the shape of KVM_HC_MAP_GPA_RANGE, and what only looks like one.

use crate::fake_vcpu::{host, recognise_hypercall, FakeVcpu};
use hcall_abi::carrier::{CarrierRegisters, GPA, NUMBER, PAGES};
use hcall_abi::result::KVM_ENOSYS_RESULT;
use hcall_abi::{Errno, HypercallNumber, Transport, TransportSet};
use hcall_vmm::hypercall::Vcpu;
use hcall_vmm::{Disposition, HypercallHost};
use vm_memory::{GuestAddress, GuestMemoryMmap};

const ARGS: HypercallNumber = HypercallNumber::user(1);
const ARGUMENTS: [u64; 4] = [u64::MAX, 2, 1 << 40, 4];

/// KVM_EXIT_HYPERCALL_LONG_MODE.
const LONG_MODE: u32 = 1;

fn dispatch(host: &HypercallHost, vcpu: &mut FakeVcpu, transport: Transport) -> i64 {
    assert_eq!(host.dispatch(vcpu, 0, transport), Disposition::Resume);
    vcpu.answer()
}

fn register(host: &HypercallHost) {
    host.hypercalls()
        .register(ARGS, |call| {
            assert_eq!(call.args(), ARGUMENTS);
            assert_eq!(call.transport(), Some(Transport::Carrier));
            Ok(u64::from(call.cpl()?.get()) + 7)
        })
        .unwrap();
}

fn offering(offered: TransportSet) -> HypercallHost {
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 4096)]).unwrap();
    HypercallHost::without_kvm(memory, offered)
}

#[test]
fn a_call_in_the_carriers_shape_is_recognised() {
    let (host, _memory) = host();
    for number in [0, 12, ARGS.get(), u32::MAX] {
        let registers = CarrierRegisters::carrying(number);
        let recognised = recognise_hypercall(&host, registers, LONG_MODE);
        assert_eq!(recognised, Some(Transport::Carrier));
    }
}

#[test]
fn a_real_request_to_map_memory_is_the_vmms_own_business() {
    let (host, _memory) = host();
    for (rbx, rcx) in [(GPA, PAGES), (0x10_0000, 512)] {
        // Every page size, decrypted and encrypted.
        for rdx in [0, 1, 2, 0x10, 0x11, 0x12] {
            let request = CarrierRegisters {
                rax: NUMBER,
                rbx,
                rcx,
                rdx,
            };
            assert_eq!(recognise_hypercall(&host, request, LONG_MODE), None);
        }
    }
}

#[test]
fn garbage_is_not_a_call() {
    let (host, _memory) = host();
    let call = CarrierRegisters::carrying(ARGS.get());
    for garbage in [
        CarrierRegisters { rax: 11, ..call },
        CarrierRegisters { rbx: 4096, ..call },
        CarrierRegisters { rcx: 2, ..call },
        CarrierRegisters {
            rcx: u64::MAX,
            ..call
        },
        CarrierRegisters {
            rdx: u64::MAX,
            ..call
        },
        CarrierRegisters {
            rdx: call.rdx & u64::from(u32::MAX),
            ..call
        },
    ] {
        assert_eq!(recognise_hypercall(&host, garbage, LONG_MODE), None);
    }
    let other_mode = recognise_hypercall(&host, call, 0);
    assert_eq!(other_mode, None, "32-bit mode has no upper half of rdx");
}

#[test]
fn a_carrier_that_was_not_offered_is_not_a_call() {
    let host = offering(TransportSet::EMPTY.with(Transport::Instruction));
    let call = CarrierRegisters::carrying(ARGS.get());
    assert_eq!(recognise_hypercall(&host, call, LONG_MODE), None);

    register(&host);
    let mut vcpu = FakeVcpu::new();
    vcpu.carry_by_xen(ARGS.get(), ARGUMENTS);
    let answer = dispatch(&host, &mut vcpu, Transport::Instruction);
    assert_eq!(answer, KVM_ENOSYS_RESULT, "it is KVM's number 12");
}

#[test]
fn the_answer_goes_where_kvm_takes_it_from() {
    let (host, _memory) = host();
    register(&host);
    let mut vcpu = FakeVcpu::new();
    vcpu.carry(ARGS.get(), ARGUMENTS);
    let before = vcpu.registers();
    assert_eq!(dispatch(&host, &mut vcpu, Transport::Carrier), 7);
    assert_eq!(vcpu.registers(), before);
    assert_eq!(vcpu.dirty_registers(), 0);
    let stats = host.counters().read();
    assert_eq!((stats.calls, stats.carrier), (1, 1));
}

#[test]
fn under_xen_interception_the_carrier_is_a_carrier_still() {
    let (host, _memory) = host();
    register(&host);
    let mut vcpu = FakeVcpu::new();
    vcpu.carry_by_xen(ARGS.get(), ARGUMENTS);
    assert_eq!(dispatch(&host, &mut vcpu, Transport::Instruction), 7);
    let stats = host.counters().read();
    assert_eq!((stats.calls, stats.carrier, stats.instruction), (1, 1, 0));
}

#[test]
fn under_xen_interception_a_process_is_refused() {
    let (host, _memory) = host();
    register(&host);
    let mut vcpu = FakeVcpu::new();
    vcpu.cpl = 3;
    vcpu.carry_by_xen(ARGS.get(), ARGUMENTS);
    let answer = dispatch(&host, &mut vcpu, Transport::Instruction);
    assert_eq!(answer, -i64::from(Errno::EPERM.get()));
    assert_eq!(host.counters().read().refused, 1);
}

#[test]
fn under_xen_interception_what_is_no_carrier_is_kvms_number() {
    let (host, _memory) = host();
    let mut vcpu = FakeVcpu::new();
    // A real request.
    vcpu.trap(NUMBER, [0x10_0000, 1, 0x10, 0]);
    let answer = dispatch(&host, &mut vcpu, Transport::Instruction);
    assert_eq!(answer, KVM_ENOSYS_RESULT);
    // The carrier's registers, left in the upper halves that 32-bit mode does not have.
    vcpu.carry_by_xen(ARGS.get(), ARGUMENTS);
    vcpu.kvm_run().__bindgen_anon_1.xen.u.hcall.longmode = 0;
    let answer = dispatch(&host, &mut vcpu, Transport::Instruction);
    assert_eq!(answer, KVM_ENOSYS_RESULT);
    assert_eq!(host.counters().read().carrier, 0);
}

#[test]
fn carried_numbers_are_decided_on_like_any_other() {
    let (host, _memory) = host();
    for (number, answer) in [
        (12, KVM_ENOSYS_RESULT),
        (15, -i64::from(Errno::ENOSYS.get())),
        (1 << 31, -i64::from(Errno::ENOSYS.get())),
        (0x3000, -i64::from(Errno::ENOSYS.get())),
    ] {
        let mut vcpu = FakeVcpu::new();
        vcpu.carry(number, [0; 4]);
        assert_eq!(dispatch(&host, &mut vcpu, Transport::Carrier), answer);
    }
}
