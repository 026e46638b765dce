// SPDX-License-Identifier: MIT OR Apache-2.0
//! A vCPU without KVM: exits are put together by hand, and answered by the real dispatch.

use hcall_abi::carrier::CarrierRegisters;
use hcall_abi::convention::Arguments;
use hcall_abi::transport::PORT;
use hcall_abi::{Gpa, Transport, TransportSet};
use hcall_vmm::hypercall::{Cpl, Mode, Vcpu};
use hcall_vmm::{Disposition, HypercallHost};
use kvm_bindings::kvm_xen_exit__bindgen_ty_1__bindgen_ty_1 as HcallExit;
use kvm_bindings::{
    kvm_regs, kvm_run, kvm_sregs, KVM_EXIT_HYPERCALL, KVM_EXIT_IO, KVM_EXIT_XEN, KVM_EXIT_XEN_HCALL,
};
use kvm_ioctls::{HypercallExit, VcpuExit};
use std::cell::Cell;
use vm_memory::{GuestAddress, GuestMemoryMmap};

/// EIO, as KVM would say it.
const EIO: i32 = 5;

/// Size of the test guest's memory.
pub(crate) const MEMORY_SIZE: usize = 0x1_0000;

/// All transports that the host library has.
pub(crate) const OFFERED: TransportSet = TransportSet::EMPTY
    .with(Transport::Instruction)
    .with(Transport::Carrier)
    .with(Transport::Port);

/// A host with 64 KiB of guest memory.
pub(crate) fn host() -> (HypercallHost, GuestMemoryMmap) {
    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY_SIZE)])
        .expect("64 KiB can be mapped");
    let host = HypercallHost::without_kvm(memory.clone(), OFFERED);
    (host, memory)
}

/// A vCPU made of a `kvm_run`.
pub(crate) struct FakeVcpu {
    run: Box<kvm_run>,
    /// What KVM would say of the privilege level.
    pub(crate) cpl: u32,
    /// What it would say of the mode; `None`: it would not say.
    pub(crate) mode: Option<Mode>,
    /// Its special registers; `None`: it would not say.
    pub(crate) special: Cell<Option<kvm_sregs>>,
}

impl FakeVcpu {
    pub(crate) fn new() -> Self {
        Self {
            run: Box::default(),
            cpl: 0,
            mode: Some(Mode::Bits64),
            special: Cell::new(None),
        }
    }

    /// What VMMCALL or VMCALL in 64-bit mode leaves behind.
    pub(crate) fn trap(&mut self, number: u64, arguments: Arguments) {
        self.fill_registers(number, arguments);
        self.run.exit_reason = KVM_EXIT_XEN;
        self.run.__bindgen_anon_1.xen.type_ = KVM_EXIT_XEN_HCALL;
        self.run.__bindgen_anon_1.xen.u.hcall = HcallExit {
            longmode: 1,
            cpl: self.cpl,
            input: number,
            ..Default::default()
        };
    }

    /// The same, from 32-bit mode.
    pub(crate) fn trap_32(&mut self, number: u64, arguments: Arguments) {
        self.trap(number, arguments);
        self.run.__bindgen_anon_1.xen.u.hcall.longmode = 0;
    }

    /// What a call in the carrier's shape leaves behind.
    pub(crate) fn carry(&mut self, number: u32, arguments: Arguments) {
        self.fill_carrier(CarrierRegisters::carrying(number), arguments);
        self.run.exit_reason = KVM_EXIT_HYPERCALL;
    }

    /// The same where Xen interception is on.
    pub(crate) fn carry_by_xen(&mut self, number: u32, arguments: Arguments) {
        let registers = CarrierRegisters::carrying(number);
        self.trap(registers.rax, [0; 4]);
        self.fill_carrier(registers, arguments);
    }

    fn fill_carrier(&mut self, registers: CarrierRegisters, [rsi, rdi, r8, r9]: Arguments) {
        let CarrierRegisters { rax, rbx, rcx, rdx } = registers;
        self.run.s.regs.regs = kvm_regs {
            rax,
            rbx,
            rcx,
            rdx,
            rsi,
            rdi,
            r8,
            r9,
            rip: 0x1000,
            ..Default::default()
        };
    }

    /// What `out` to the ABI's port leaves behind.
    pub(crate) fn out(&mut self, number: u64, arguments: Arguments) {
        self.fill_registers(number, arguments);
        self.run.exit_reason = KVM_EXIT_IO;
        self.run.__bindgen_anon_1.io.port = u16::from(PORT);
    }

    fn fill_registers(&mut self, number: u64, [rbx, rcx, rdx, rsi]: Arguments) {
        self.run.s.regs.regs = kvm_regs {
            rax: number,
            rbx,
            rcx,
            rdx,
            rsi,
            rip: 0x1000,
            ..Default::default()
        };
    }

    /// What KVM would store to rax after the call.
    pub(crate) fn answer(&self) -> i64 {
        // SAFETY: all are plain integers, written by the functions above.
        unsafe {
            match self.run.exit_reason {
                KVM_EXIT_XEN => self.run.__bindgen_anon_1.xen.u.hcall.result as i64,
                KVM_EXIT_HYPERCALL => self.run.__bindgen_anon_1.hypercall.ret as i64,
                _ => self.run.s.regs.regs.rax as i64,
            }
        }
    }

    pub(crate) fn registers(&self) -> kvm_regs {
        // SAFETY: plain integers.
        unsafe { self.run.s.regs.regs }
    }

    pub(crate) fn dirty_registers(&self) -> u64 {
        self.run.kvm_dirty_regs
    }
}

impl Vcpu for FakeVcpu {
    fn kvm_run(&mut self) -> &mut kvm_run {
        &mut self.run
    }

    fn privilege_level(&self) -> Result<Cpl, kvm_ioctls::Error> {
        Ok(Cpl::from_low_bits(self.cpl))
    }

    fn mode(&self) -> Result<Mode, kvm_ioctls::Error> {
        self.mode.ok_or(kvm_ioctls::Error::new(EIO))
    }

    fn translate(&self, gva: u64) -> Result<Option<Gpa>, kvm_ioctls::Error> {
        Ok((gva < MEMORY_SIZE as u64).then_some(Gpa::new(gva)))
    }

    fn special_registers(&self) -> Result<kvm_sregs, kvm_ioctls::Error> {
        self.special.get().ok_or(kvm_ioctls::Error::new(EIO))
    }

    fn set_special_registers(&self, registers: &kvm_sregs) -> Result<(), kvm_ioctls::Error> {
        let known = self.special.get().is_some();
        self.special.set(known.then_some(*registers));
        match known {
            true => Ok(()),
            false => Err(kvm_ioctls::Error::new(EIO)),
        }
    }
}

/// Makes one call by the instruction and returns the guest's result.
pub(crate) fn call(host: &HypercallHost, number: u32, arguments: Arguments) -> i64 {
    let mut vcpu = FakeVcpu::new();
    vcpu.trap(number.into(), arguments);
    let disposition = host.dispatch(&mut vcpu, 0, Transport::Instruction);
    assert_eq!(disposition, Disposition::Resume);
    vcpu.answer()
}

/// What `host` recognises in KVM_EXIT_HYPERCALL with these registers.
pub(crate) fn recognise_hypercall(
    host: &HypercallHost,
    registers: CarrierRegisters,
    longmode: u32,
) -> Option<Transport> {
    let CarrierRegisters { rax, rbx, rcx, rdx } = registers;
    host.recognise(&VcpuExit::Hypercall(HypercallExit {
        nr: rax,
        args: [rbx, rcx, rdx, 0, 0, 0],
        ret: &mut 0,
        longmode,
    }))
}
