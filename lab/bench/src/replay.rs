// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exits replayed, and answered by the real dispatch: what a call costs the host outside
//! KVM_RUN. The handler returns its first argument (ECHO).
//!
//! Not in it: KVM_RUN, and the translation of its exit reason by `kvm-ioctls`.

use hcall_abi::carrier::CarrierRegisters;
use hcall_abi::convention::Arguments;
use hcall_abi::transport::PORT;
use hcall_abi::{Gpa, HypercallNumber, Transport, TransportSet};
use hcall_vmm::hypercall::{Cpl, Mode, Vcpu};
use hcall_vmm::{Disposition, HypercallHost, VcpuCalls};
use kvm_bindings::kvm_xen_exit__bindgen_ty_1__bindgen_ty_1 as HcallExit;
use kvm_bindings::{
    kvm_regs, kvm_run, KVM_EXIT_HYPERCALL, KVM_EXIT_IO, KVM_EXIT_XEN, KVM_EXIT_XEN_HCALL,
};
use kvm_ioctls::{HypercallExit, VcpuExit};
use std::fmt;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use vm_memory::{GuestAddress, GuestMemoryMmap};

const OFFERED: TransportSet = TransportSet::EMPTY
    .with(Transport::Instruction)
    .with(Transport::Carrier)
    .with(Transport::Port);

/// The first of the numbers outside hcall's ranges; the others lie `STRIDE` apart.
const FOREIGN: u32 = 0x3000;
const STRIDE: u32 = 0x1_0003;

const ARGUMENTS: Arguments = [1, 2, 3, 4];

/// A vCPU made of a `kvm_run`, with the exit of one call in it.
pub struct Replay {
    run: Box<kvm_run>,
    transport: Transport,
    stop: AtomicBool,
}

impl Replay {
    /// A vCPU that has called `number` over `transport`.
    pub fn new(transport: Transport, number: HypercallNumber) -> Self {
        let mut run = Box::<kvm_run>::default();
        let [rbx, rcx, rdx, rsi] = ARGUMENTS;
        run.s.regs.regs = kvm_regs {
            rax: number.get().into(),
            rbx,
            rcx,
            rdx,
            rsi,
            ..Default::default()
        };
        match transport {
            Transport::Instruction => {
                run.exit_reason = KVM_EXIT_XEN;
                run.__bindgen_anon_1.xen.type_ = KVM_EXIT_XEN_HCALL;
                run.__bindgen_anon_1.xen.u.hcall = HcallExit {
                    longmode: 1,
                    input: number.get().into(),
                    ..Default::default()
                };
            }
            Transport::Carrier => {
                let carrier = CarrierRegisters::carrying(number.get());
                run.exit_reason = KVM_EXIT_HYPERCALL;
                run.s.regs.regs = kvm_regs {
                    rax: carrier.rax,
                    rbx: carrier.rbx,
                    rcx: carrier.rcx,
                    rdx: carrier.rdx,
                    rsi: rbx,
                    rdi: rcx,
                    r8: rdx,
                    r9: rsi,
                    ..Default::default()
                };
            }
            _ => {
                run.exit_reason = KVM_EXIT_IO;
                run.__bindgen_anon_1.io.port = u16::from(PORT);
            }
        }
        Self {
            run,
            transport,
            stop: AtomicBool::new(false),
        }
    }

    /// What a vCPU's thread does from one KVM_RUN to the next.
    ///
    /// # Panics
    ///
    /// If the exit is not answered as a call.
    #[inline]
    pub fn answer(&mut self, calls: &mut VcpuCalls<'_>, number: HypercallNumber) {
        assert!(!self.stop.load(Ordering::Relaxed));
        let mut ret = 0;
        let carrier = CarrierRegisters::carrying(number.get());
        let data = [0; size_of::<u32>()];
        let exit = match self.transport {
            Transport::Instruction => VcpuExit::Unsupported(KVM_EXIT_XEN),
            Transport::Carrier => VcpuExit::Hypercall(HypercallExit {
                nr: carrier.rax,
                args: [carrier.rbx, carrier.rcx, carrier.rdx, 0, 0, 0],
                ret: &mut ret,
                longmode: 1,
            }),
            _ => {
                // The answer of the call before stands there.
                self.run.s.regs.regs.rax = number.get().into();
                VcpuExit::IoOut(u16::from(PORT), &data)
            }
        };
        let transport = calls.recognise(black_box(&exit)).expect("it is a call");
        let disposition = calls.dispatch(self, transport);
        assert_eq!(disposition, Disposition::Resume);
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Replay")
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}

impl Vcpu for Replay {
    fn kvm_run(&mut self) -> &mut kvm_run {
        &mut self.run
    }

    fn privilege_level(&self) -> Result<Cpl, kvm_ioctls::Error> {
        Ok(Cpl::KERNEL)
    }

    fn mode(&self) -> Result<Mode, kvm_ioctls::Error> {
        Ok(Mode::Bits64)
    }

    fn translate(&self, _gva: u64) -> Result<Option<Gpa>, kvm_ioctls::Error> {
        Ok(None)
    }
}

/// A host with ECHO under each of `numbers`.
///
/// # Panics
///
/// If a number comes twice, or there is no page of memory left.
pub fn host(numbers: impl Iterator<Item = HypercallNumber>) -> HypercallHost {
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 0x1000)])
        .expect("a page can be mapped");
    let host = HypercallHost::without_kvm(memory, OFFERED);
    for number in numbers {
        host.hypercalls()
            .register(number, |call| Ok(call.arg::<0>()))
            .expect("the number is free");
    }
    host
}

/// The number `index` of those outside hcall's ranges.
///
/// # Panics
///
/// Never: none of them is anybody else's.
pub fn foreign(index: u16) -> HypercallNumber {
    HypercallNumber::new(FOREIGN + u32::from(index) * STRIDE).expect("nobody else's number")
}
