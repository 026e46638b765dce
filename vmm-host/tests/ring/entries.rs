// SPDX-License-Identifier: MIT OR Apache-2.0
//! What entries are answered: the policy of the ring, and calls that see no vCPU.

use crate::machine::{eventually, setup, Machine, REGION};
use hcall_abi::ioctl::NumberRange;
use hcall_abi::layout::GuestInfo;
use hcall_abi::number::{
    BATCH, CORE_CALLS, ECHO, EXIT, GUEST_INFO, PANIC, PROBE, RING_SETUP, RING_TEARDOWN, STATS,
};
use hcall_abi::ring::{RingSetup, FLAG_PROCESS, NO_VCPU};
use hcall_abi::version::PROBE_RESULT;
use hcall_abi::{CallError, Errno, HypercallNumber};
use hcall_guest::ring::{Doorbell, Ring};
use hcall_vmm::core_calls::CoreServices;
use hcall_vmm::hypercall::Cpl;
use hcall_vmm::{Callers, Origin};
use std::mem::offset_of;
use vm_memory::{Bytes, GuestAddress};

const USER: HypercallNumber = HypercallNumber::user(0x300);
/// Where calls write.
const BUFFER: u64 = REGION + 0x1_0000;

fn with_core_calls() -> Machine {
    let Machine {
        host,
        memory,
        wiring,
    } = Machine::new();
    let services = CoreServices {
        console: Box::new(std::io::sink()),
        tsc_khz: None,
        memory_bytes: 0,
        vcpu_count: 1,
    };
    Machine {
        host: host.with_core_calls(services),
        memory,
        wiring,
    }
}

/// Makes one call through `ring` and waits for its answer.
pub(crate) fn through<D: Doorbell>(
    ring: &mut Ring<D>,
    number: HypercallNumber,
    arguments: [u64; 4],
) -> Result<u64, CallError> {
    ring.submit(number, arguments, 1).expect("room");
    let _ = ring.flush();
    let mut answer = None;
    eventually("an answer", || {
        answer = ring.complete();
        answer.is_some()
    });
    answer.expect("it came").result
}

fn refused(errno: Errno) -> Result<u64, CallError> {
    hcall_abi::decode_result(-i64::from(errno.get()))
}

#[test]
fn core_calls_answer_through_a_ring() {
    let machine = with_core_calls();
    let (_, mut ring) = machine.set_up(&setup(4));
    assert_eq!(through(&mut ring, PROBE, [0; 4]), Ok(PROBE_RESULT));
    assert_eq!(through(&mut ring, ECHO, [99, 0, 0, 0]), Ok(99));
    let length = size_of::<GuestInfo>() as u64;
    assert_eq!(
        through(&mut ring, GUEST_INFO, [BUFFER, length, 0, 0]),
        Ok(length)
    );
    let word = |offset: usize| -> u32 {
        let address = GuestAddress(BUFFER + offset as u64);
        machine.memory.read_obj(address).expect("memory")
    };
    assert_eq!(word(offset_of!(GuestInfo, vcpu)), NO_VCPU);
    assert_eq!(
        word(offset_of!(GuestInfo, transport)),
        hcall_abi::cpuid::NO_TRANSPORT
    );
    assert_eq!(machine.host.counters().ring_calls(), 3);
    // RING_SETUP came by the instruction.
    assert_eq!(machine.host.counters().read().calls, 4);
}

#[test]
fn calls_that_end_the_vm_or_make_rings_are_refused() {
    let machine = with_core_calls();
    let (_, mut ring) = machine.set_up(&setup(4));
    for number in [EXIT, PANIC, BATCH, RING_SETUP, RING_TEARDOWN] {
        assert_eq!(
            through(&mut ring, number, [0; 4]),
            refused(Errno::EINVAL),
            "{number}"
        );
    }
    machine
        .host
        .hypercalls()
        .register(USER, |call| {
            call.request_exit(3);
            Ok(0)
        })
        .expect("the number is free");
    assert_eq!(through(&mut ring, USER, [0; 4]), refused(Errno::EINVAL));
    assert_eq!(through(&mut ring, PROBE, [0; 4]), Ok(PROBE_RESULT));
}

#[test]
fn a_handler_sees_a_ring_and_no_vcpu() {
    let machine = Machine::new();
    machine
        .host
        .hypercalls()
        .register(USER, |call| {
            assert!(matches!(call.origin(), Origin::Ring(ring) if ring.get() == 0));
            assert_eq!((call.vcpu_id(), call.transport()), (None, None));
            assert_eq!(call.cpl(), Ok(Cpl::KERNEL));
            assert_eq!(call.registers().err(), Some(Errno::EOPNOTSUPP));
            assert_eq!(call.translate(0), Err(Errno::EOPNOTSUPP));
            assert_eq!(call.walk(0), Err(Errno::EOPNOTSUPP));
            assert_eq!(call.special_registers().err(), Some(Errno::EOPNOTSUPP));
            assert_eq!(call.defer().err(), Some(Errno::EOPNOTSUPP));
            let registers = kvm_bindings::kvm_regs::default();
            assert_eq!(call.set_registers(&registers), Err(Errno::EOPNOTSUPP));
            Ok(5)
        })
        .expect("the number is free");
    let (_, mut ring) = machine.set_up(&setup(4));
    assert_eq!(through(&mut ring, USER, [0; 4]), Ok(5));
}

#[test]
fn ranges_are_applied_to_every_entry() {
    let machine = with_core_calls();
    machine
        .host
        .hypercalls()
        .register(USER, |_| Ok(1))
        .expect("the number is free");
    let mut wanted = RingSetup {
        range_count: 2,
        ..setup(8)
    };
    let only = |number: HypercallNumber| NumberRange {
        first: number.get(),
        last: number.get(),
    };
    wanted.ranges[0] = only(ECHO);
    wanted.ranges[1] = only(USER);
    // Beyond the count: ignored.
    wanted.ranges[2] = only(PROBE);
    let (_, mut ring) = machine.set_up(&wanted);
    for _ in 0..3 {
        assert_eq!(through(&mut ring, ECHO, [4, 0, 0, 0]), Ok(4));
        assert_eq!(through(&mut ring, USER, [0; 4]), Ok(1));
        for number in [PROBE, EXIT, STATS, HypercallNumber::user(0x301)] {
            assert_eq!(
                through(&mut ring, number, [0; 4]),
                refused(Errno::EPERM),
                "{number}"
            );
        }
    }
    assert_eq!(machine.host.counters().read().refused, 12);
}

#[test]
fn a_process_names_no_address() {
    let machine = with_core_calls();
    let (_, mut ring) = machine.set_up(&RingSetup {
        flags: FLAG_PROCESS,
        ..setup(8)
    });
    for (number, name) in CORE_CALLS {
        let answer = through(&mut ring, number, [BUFFER, 16, 0, 0]);
        if number.takes_gpa() {
            assert_eq!(answer, refused(Errno::EPERM), "{name}");
        } else {
            assert_ne!(answer, refused(Errno::EPERM), "{name}");
        }
    }
}

/// Who may set up a ring gets through it what he gets without, and nothing more.
#[test]
fn entries_have_the_privilege_of_the_setup() {
    let Machine {
        host,
        memory,
        wiring,
    } = Machine::new();
    let machine = Machine {
        host: host.with_callers(Callers::AnyPrivilegeLevel),
        memory,
        wiring,
    };
    let table = machine.host.hypercalls();
    table
        .register_for(Callers::KernelOnly, USER, |_| Ok(1))
        .expect("the number is free");
    table
        .register(ECHO, |call| Ok(call.cpl()?.get().into()))
        .expect("the number is free");
    assert_eq!(machine.try_set_up_at(3, &setup(4)), 0);
    let doorbell = crate::machine::TestDoorbell(machine.wiring.doorbell(0));
    let mut ring = Ring::new(machine.region(&setup(4)), doorbell);
    assert_eq!(through(&mut ring, USER, [0; 4]), refused(Errno::EPERM));
    assert_eq!(through(&mut ring, ECHO, [0; 4]), Ok(3));
}
