// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a KVM exit to a call: which exits are hypercalls, and where their registers are.

use crate::hypercall::{Cpl, Mode};
use hcall_abi::carrier::CarrierRegisters;
use hcall_abi::convention::Arguments;
use hcall_abi::transport::PORT;
use hcall_abi::{Transport, TransportSet};
use kvm_bindings::{
    kvm_regs, kvm_run, kvm_xen_exit__bindgen_ty_1__bindgen_ty_1 as XenHypercall,
    KVM_EXIT_HYPERCALL, KVM_EXIT_XEN, KVM_EXIT_XEN_HCALL,
};
use kvm_ioctls::{HypercallExit, VcpuExit};

/// KVM_EXIT_HYPERCALL_LONG_MODE: the caller is in 64-bit mode.
const LONG_MODE: u32 = 1;

/// The transport of those `offered` by which an exit is a hypercall; `None` if it is none.
#[inline]
pub fn recognise(exit: &VcpuExit<'_>, offered: TransportSet) -> Option<Transport> {
    let offers = |transport| offered.contains(transport);
    match exit {
        VcpuExit::Unsupported(KVM_EXIT_XEN) if offers(Transport::Instruction) => {
            Some(Transport::Instruction)
        }
        VcpuExit::Hypercall(exit) if offers(Transport::Carrier) && is_carrier(exit) => {
            Some(Transport::Carrier)
        }
        VcpuExit::IoOut(port, data) if offers(Transport::Port) && is_port_call(*port, data) => {
            Some(Transport::Port)
        }
        _ => None,
    }
}

/// Whether a guest wrote 32 bits to the port of calls.
#[inline]
fn is_port_call(port: u16, data: &[u8]) -> bool {
    port == u16::from(PORT) && data.len() == size_of::<u32>()
}

/// Whether KVM handed over a call of ours, and not a request to map guest memory, which
/// is the VMM's to answer. KVM has checked the caller's privilege level.
#[inline]
fn is_carrier(exit: &HypercallExit<'_>) -> bool {
    let [rbx, rcx, rdx, ..] = exit.args;
    let registers = CarrierRegisters {
        rax: exit.nr,
        rbx,
        rcx,
        rdx,
    };
    exit.longmode & LONG_MODE != 0 && registers.number().is_some()
}

/// The transport of the call in `run`, which was recognised as one over `transport`: where
/// Xen interception is on it takes the carrier's instruction as well, and the registers
/// tell the two apart.
#[inline]
pub(crate) fn distinguish(run: &kvm_run, transport: Transport, offered: TransportSet) -> Transport {
    let is_carrier = || {
        xen_hypercall(run).is_some_and(|hcall| hcall.longmode != 0)
            && carried_number(shared_registers(run)).is_some()
    };
    if transport == Transport::Instruction && offered.contains(Transport::Carrier) && is_carrier() {
        return Transport::Carrier;
    }
    transport
}

/// A call as it left the guest; the registers' copy, so that nothing can change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodedCall {
    /// All 64 bits of the number's register; a conforming guest leaves the upper half zero.
    pub number: u64,
    /// The arguments, of 32 bits each from a guest that is not in 64-bit mode.
    pub arguments: Arguments,
    /// The caller's privilege level, where the exit itself says it.
    pub cpl: Option<Cpl>,
    /// The caller's mode, where the exit itself says it.
    pub mode: Option<Mode>,
}

/// Reads the call out of `run`, whose exit was recognised as one over `transport`, and
/// whose general registers KVM has shared (`KVM_SYNC_X86_REGS`).
///
/// `None` if the exit is none after all: a Xen exit of another kind.
#[inline]
pub fn decode(run: &kvm_run, transport: Transport) -> Option<DecodedCall> {
    let registers = shared_registers(run);
    match transport {
        Transport::Instruction => {
            let hcall = xen_hypercall(run)?;
            let call = |width, mode| DecodedCall {
                number: hcall.input & width,
                arguments: arguments_of(registers).map(|argument| argument & width),
                cpl: Some(Cpl::from_low_bits(hcall.cpl)),
                mode: Some(mode),
            };
            // Above 32 bits, a caller in 32-bit mode has what was left there before.
            Some(if hcall.longmode != 0 {
                call(u64::MAX, Mode::Bits64)
            } else {
                call(u32::MAX.into(), Mode::Bits32)
            })
        }
        Transport::Carrier => Some(DecodedCall {
            number: carried_number(registers)?.into(),
            arguments: [registers.rsi, registers.rdi, registers.r8, registers.r9],
            cpl: Some(carrier_cpl(run)?),
            mode: Some(Mode::Bits64),
        }),
        Transport::Port => Some(DecodedCall {
            number: registers.rax,
            arguments: arguments_of(registers),
            cpl: None,
            mode: None,
        }),
        _ => None,
    }
}

/// What a Xen exit says, if `run` holds one that is a hypercall.
#[inline]
fn xen_hypercall(run: &kvm_run) -> Option<XenHypercall> {
    if run.exit_reason != KVM_EXIT_XEN {
        return None;
    }
    // SAFETY: for KVM_EXIT_XEN, KVM filled this field.
    let xen = unsafe { run.__bindgen_anon_1.xen };
    if xen.type_ != KVM_EXIT_XEN_HCALL {
        return None;
    }
    // SAFETY: for this type, KVM filled this field.
    Some(unsafe { xen.u.hcall })
}

/// The caller's privilege level: a Xen exit tells it, and KVM hands over what comes from
/// CPL 0 only.
#[inline]
fn carrier_cpl(run: &kvm_run) -> Option<Cpl> {
    if run.exit_reason == KVM_EXIT_HYPERCALL {
        return Some(Cpl::KERNEL);
    }
    xen_hypercall(run).map(|hcall| Cpl::from_low_bits(hcall.cpl))
}

#[inline]
fn carried_number(registers: &kvm_regs) -> Option<u32> {
    CarrierRegisters {
        rax: registers.rax,
        rbx: registers.rbx,
        rcx: registers.rcx,
        rdx: registers.rdx,
    }
    .number()
}

#[inline]
fn arguments_of(registers: &kvm_regs) -> Arguments {
    [registers.rbx, registers.rcx, registers.rdx, registers.rsi]
}

/// The general registers that KVM shared at the last exit.
#[inline]
pub(crate) fn shared_registers(run: &kvm_run) -> &kvm_regs {
    // SAFETY: the union's other members are padding; registers are plain integers, valid
    // whatever stands in them.
    unsafe { &run.s.regs.regs }
}
