// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a KVM exit to a call: which exits are hypercalls, and where their registers are.

use crate::hypercall::Cpl;
use hcall_abi::convention::Arguments;
use hcall_abi::transport::PORT;
use hcall_abi::Transport;
use kvm_bindings::{kvm_regs, kvm_run, KVM_EXIT_XEN, KVM_EXIT_XEN_HCALL};
use kvm_ioctls::VcpuExit;

/// The transport by which an exit is a hypercall; `None` if it is not one.
pub fn recognise(exit: &VcpuExit<'_>) -> Option<Transport> {
    match exit {
        VcpuExit::Unsupported(KVM_EXIT_XEN) => Some(Transport::Instruction),
        VcpuExit::IoOut(port, data)
            if *port == u16::from(PORT) && data.len() == size_of::<u32>() =>
        {
            Some(Transport::Port)
        }
        _ => None,
    }
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
}

/// Reads the call out of `run`, whose exit was recognised as one over `transport`, and
/// whose general registers KVM has shared (`KVM_SYNC_X86_REGS`).
///
/// `None` if the exit is none after all: a Xen exit of another kind.
pub fn decode(run: &kvm_run, transport: Transport) -> Option<DecodedCall> {
    let registers = shared_registers(run);
    match transport {
        Transport::Instruction => {
            // SAFETY: for KVM_EXIT_XEN, which `recognise` saw, KVM filled this field.
            let xen = unsafe { run.__bindgen_anon_1.xen };
            if run.exit_reason != KVM_EXIT_XEN || xen.type_ != KVM_EXIT_XEN_HCALL {
                return None;
            }
            // SAFETY: for this type, KVM filled this field.
            let hcall = unsafe { xen.u.hcall };
            let width = if hcall.longmode != 0 {
                u64::MAX
            } else {
                u64::from(u32::MAX)
            };
            Some(DecodedCall {
                number: hcall.input & width,
                arguments: arguments_of(registers).map(|argument| argument & width),
                cpl: Some(Cpl::from_low_bits(hcall.cpl)),
            })
        }
        Transport::Port => Some(DecodedCall {
            number: registers.rax,
            arguments: arguments_of(registers),
            cpl: None,
        }),
        _ => None,
    }
}

fn arguments_of(registers: &kvm_regs) -> Arguments {
    [registers.rbx, registers.rcx, registers.rdx, registers.rsi]
}

/// The general registers that KVM shared at the last exit.
pub(crate) fn shared_registers(run: &kvm_run) -> &kvm_regs {
    // SAFETY: the union's other members are padding; registers are plain integers, valid
    // whatever stands in them.
    unsafe { &run.s.regs.regs }
}
