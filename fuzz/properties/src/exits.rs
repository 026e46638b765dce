// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whatever a KVM exit says: it is recognised as a call or not, decoded, and answered.

use crate::input::Input;
use crate::machine::{self, Machine, Rules};
use crate::vcpu::FuzzVcpu;
use hcall_abi::carrier::CarrierRegisters;
use hcall_abi::transport::PORT;
use hcall_abi::{Errno, Transport, TransportSet};
use hcall_vmm::decode::{self, DecodedCall};
use hcall_vmm::hypercall::{Cpl, Mode};
use hcall_vmm::{Callers, Disposition};
use kvm_bindings::{
    kvm_regs, kvm_run, KVM_EXIT_HYPERCALL, KVM_EXIT_IO, KVM_EXIT_IO_OUT, KVM_EXIT_XEN,
};
use kvm_ioctls::{HypercallExit, VcpuExit};
use std::sync::{LazyLock, Mutex, PoisonError};

/// A machine for each set of transports and each policy.
static MACHINES: LazyLock<Mutex<Vec<Machine>>> = LazyLock::new(|| {
    let machines = (0..16).map(|index| {
        let callers = if index < 8 {
            Callers::KernelOnly
        } else {
            Callers::AnyPrivilegeLevel
        };
        Machine::new(TransportSet::from_bits(index % 8), callers)
    });
    Mutex::new(machines.collect())
});

/// Every exit there is, from every level and mode, to hosts of every kind.
pub fn exits(data: &[u8]) {
    let mut input = Input::new(data);
    let machines = MACHINES.lock().unwrap_or_else(PoisonError::into_inner);
    let kind = usize::from(input.u8() % 16);
    let machine = &machines[kind];
    let offered = TransportSet::from_bits(kind as u32 % 8);
    let callers = if kind < 8 {
        Callers::KernelOnly
    } else {
        Callers::AnyPrivilegeLevel
    };
    let mut vcpu = FuzzVcpu::with_answers_of(&mut input);
    fill(vcpu.run(), &mut input);
    machine.memory.reset();
    machine
        .memory
        .put(input.number(&machine::EDGES), input.rest());

    let recognised = recognise(vcpu.run(), offered);
    let Some(transport) = recognised else {
        return assert_ignored(machine, &mut vcpu);
    };
    assert!(
        offered.contains(transport),
        "a transport that nobody offered"
    );
    let decoded = decoded(vcpu.run(), transport, offered);
    let before = (vcpu.registers(), machine.host.counters().read().calls);
    let rules = decoded.map(|(call, _)| Rules::new(&machine.memory, call.number, call.arguments));
    let disposition = machine.host.dispatch(&mut vcpu, 0, transport);
    let calls = machine.host.counters().read().calls - before.1;
    let (Some((call, transport)), Some(rules)) = (decoded, rules) else {
        assert_eq!((calls, &disposition), (0, &Disposition::Resume));
        assert_eq!(
            vcpu.registers(),
            before.0,
            "an exit that is no call changed registers"
        );
        return machine.memory.settle(&[]);
    };
    assert!(calls >= 1, "the call was not counted");
    let answer = vcpu.answer();
    assert_registers(&vcpu, before.0, transport, answer);
    if let Some(Mode::Bits32) = call.mode.or(vcpu.mode) {
        assert!(
            i32::try_from(answer).is_ok(),
            "{answer:#x} does not fit into eax"
        );
    }
    let refused = callers == Callers::KernelOnly && call.cpl.is_some_and(|cpl| cpl > Cpl::KERNEL);
    if refused && call.number != u64::from(machine::OPEN.get()) {
        assert!(answer < 0, "a process called {:#x}", call.number);
        assert_eq!(disposition, Disposition::Resume);
        if hcall_abi::HypercallNumber::new(call.number as u32).is_ok() && call.number >> 32 == 0 {
            assert_eq!(answer, -i64::from(Errno::EPERM.get()));
        }
    }
    rules.settle(answer);
}

/// Fills what KVM would have filled, with what KVM never would as well.
fn fill(run: &mut kvm_run, input: &mut Input<'_>) {
    run.exit_reason = match input.u8() % 8 {
        0..=2 => KVM_EXIT_XEN,
        3 => KVM_EXIT_HYPERCALL,
        4 | 5 => KVM_EXIT_IO,
        6 => input.u8().into(),
        _ => input.u32(),
    };
    let shape = input.u8();
    let number = machine::number(input);
    let [first, second, third, fourth] = machine::arguments(input);
    let carrier = CarrierRegisters::carrying(number as u32);
    run.s.regs.regs = if shape & 1 == 0 {
        kvm_regs {
            rax: number,
            rbx: first,
            rcx: second,
            rdx: third,
            rsi: fourth,
            rip: 0x1000,
            ..Default::default()
        }
    } else {
        kvm_regs {
            rax: carrier.rax,
            rbx: carrier.rbx,
            rcx: carrier.rcx,
            rdx: carrier.rdx,
            rsi: first,
            rdi: second,
            r8: third,
            r9: fourth,
            rip: 0x1000,
            ..Default::default()
        }
    };
    if shape & 2 != 0 {
        // As KVM leaves the union: what it does not use is not cleared.
        run.__bindgen_anon_1.padding = input.array::<256>().map(|byte| byte as _);
        return;
    }
    match run.exit_reason {
        KVM_EXIT_XEN => {
            run.__bindgen_anon_1.xen.type_ = u32::from(shape & 4 == 0);
            // SAFETY: plain integers, and all of the union is initialised.
            let hcall = unsafe { &mut run.__bindgen_anon_1.xen.u.hcall };
            hcall.longmode = u32::from(shape & 8 == 0);
            hcall.cpl = u32::from(shape >> 4);
            hcall.input = if shape & 1 == 0 { number } else { carrier.rax };
        }
        KVM_EXIT_HYPERCALL => {
            // SAFETY: as above.
            let hypercall = unsafe { &mut run.__bindgen_anon_1.hypercall };
            hypercall.nr = carrier.rax;
            hypercall.args = [carrier.rbx, carrier.rcx, carrier.rdx, 0, 0, 0];
            hypercall.__bindgen_anon_1.longmode = u32::from(shape & 8 == 0);
        }
        KVM_EXIT_IO => {
            // SAFETY: as above.
            let io = unsafe { &mut run.__bindgen_anon_1.io };
            io.direction = u8::from(shape & 4 == 0);
            io.size = if shape & 8 == 0 { 4 } else { shape >> 6 };
            io.count = 1;
            io.port = if shape & 16 == 0 {
                PORT.into()
            } else {
                (number >> 3) as u16
            };
        }
        _ => {}
    }
}

/// What `kvm-ioctls` would make of the exit, recognised.
fn recognise(run: &mut kvm_run, offered: TransportSet) -> Option<Transport> {
    // SAFETY: plain integers, and all of the union is initialised.
    let (io, hypercall) = unsafe { (run.__bindgen_anon_1.io, run.__bindgen_anon_1.hypercall) };
    // SAFETY: as above.
    let longmode = unsafe { hypercall.__bindgen_anon_1.longmode };
    let (data, mut answer) = ([0; 16], 0);
    let written = &data[..data
        .len()
        .min(usize::from(io.size).saturating_mul(io.count as usize))];
    let exit = match run.exit_reason {
        KVM_EXIT_IO if u32::from(io.direction) == KVM_EXIT_IO_OUT => {
            VcpuExit::IoOut(io.port, written)
        }
        KVM_EXIT_HYPERCALL => VcpuExit::Hypercall(HypercallExit {
            nr: hypercall.nr,
            args: hypercall.args,
            ret: &mut answer,
            longmode,
        }),
        reason => VcpuExit::Unsupported(reason),
    };
    decode::recognise(&exit, offered)
}

/// The call that an exit is, and by what transport: where Xen interception is on it takes the
/// carrier's instruction as well.
fn decoded(
    run: &kvm_run,
    transport: Transport,
    offered: TransportSet,
) -> Option<(DecodedCall, Transport)> {
    let as_carrier = decode::decode(run, Transport::Carrier);
    let by_instruction = decode::decode(run, transport)?;
    match as_carrier {
        Some(call)
            if transport == Transport::Instruction
                && offered.contains(Transport::Carrier)
                && by_instruction.mode == Some(Mode::Bits64) =>
        {
            Some((call, Transport::Carrier))
        }
        _ => Some((by_instruction, transport)),
    }
}

/// A VMM that dispatched what is no call, over any transport, would do no harm.
fn assert_ignored(machine: &Machine, vcpu: &mut FuzzVcpu) {
    let exit_reason = vcpu.run().exit_reason;
    for transport in [Transport::Instruction, Transport::Carrier] {
        if exit_reason != KVM_EXIT_XEN && exit_reason != KVM_EXIT_HYPERCALL {
            let disposition = machine.host.dispatch(vcpu, 0, transport);
            assert_eq!(disposition, Disposition::Resume);
        }
    }
    machine.memory.settle(&[]);
}

/// The guest finds no register changed but the one with the answer, and that only where KVM
/// does not put it there itself.
fn assert_registers(vcpu: &FuzzVcpu, before: kvm_regs, transport: Transport, answer: i64) {
    let expected = match transport {
        Transport::Port => kvm_regs {
            rax: answer as u64,
            ..before
        },
        _ => before,
    };
    assert_eq!(vcpu.registers(), expected);
}
