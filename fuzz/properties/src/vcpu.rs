// SPDX-License-Identifier: MIT OR Apache-2.0
//! A vCPU whose exits the input decides.

use crate::input::Input;
use hcall_abi::convention::Arguments;
use hcall_abi::Gpa;
use hcall_vmm::hypercall::{Cpl, Mode, Vcpu};
use kvm_bindings::kvm_xen_exit__bindgen_ty_1__bindgen_ty_1 as XenHypercall;
use kvm_bindings::{
    kvm_regs, kvm_run, KVM_EXIT_HYPERCALL, KVM_EXIT_IO, KVM_EXIT_XEN, KVM_EXIT_XEN_HCALL,
};

/// ENOENT and the like are KVM's to give; which does not matter.
const KVM_ERROR: i32 = 5;

/// A `kvm_run`, and what KVM says when it is asked.
#[derive(Debug)]
pub(crate) struct FuzzVcpu {
    run: Box<kvm_run>,
    pub(crate) cpl: Option<u8>,
    pub(crate) mode: Option<Mode>,
}

impl FuzzVcpu {
    pub(crate) fn new() -> Self {
        Self {
            run: Box::default(),
            cpl: Some(0),
            mode: Some(Mode::Bits64),
        }
    }

    /// What KVM answers is the input's: a level, a mode, or an error.
    pub(crate) fn with_answers_of(input: &mut Input<'_>) -> Self {
        let byte = input.u8();
        Self {
            cpl: (byte & 0x80 == 0).then_some(byte & 3),
            mode: match (byte >> 4) & 3 {
                0 | 1 => Some(Mode::Bits64),
                2 => Some(Mode::Bits32),
                _ => None,
            },
            ..Self::new()
        }
    }

    /// What VMMCALL or VMCALL leaves behind at CPL 0 in 64-bit mode.
    pub(crate) fn trap(&mut self, number: u64, [rbx, rcx, rdx, rsi]: Arguments) {
        self.run.s.regs.regs = kvm_regs {
            rax: number,
            rbx,
            rcx,
            rdx,
            rsi,
            ..Default::default()
        };
        self.run.exit_reason = KVM_EXIT_XEN;
        self.run.__bindgen_anon_1.xen.type_ = KVM_EXIT_XEN_HCALL;
        self.run.__bindgen_anon_1.xen.u.hcall = XenHypercall {
            longmode: 1,
            input: number,
            ..Default::default()
        };
    }

    pub(crate) fn run(&mut self) -> &mut kvm_run {
        &mut self.run
    }

    pub(crate) fn registers(&self) -> kvm_regs {
        // SAFETY: plain integers, and all of the union is initialised.
        unsafe { self.run.s.regs.regs }
    }

    /// What stands where KVM takes the answer from.
    pub(crate) fn answer(&self) -> i64 {
        // SAFETY: plain integers, and all of both unions is initialised.
        let raw = unsafe {
            match self.run.exit_reason {
                KVM_EXIT_XEN => self.run.__bindgen_anon_1.xen.u.hcall.result,
                KVM_EXIT_HYPERCALL => self.run.__bindgen_anon_1.hypercall.ret,
                KVM_EXIT_IO => self.run.s.regs.regs.rax,
                _ => 0,
            }
        };
        raw as i64
    }
}

impl Vcpu for FuzzVcpu {
    fn kvm_run(&mut self) -> &mut kvm_run {
        &mut self.run
    }

    fn privilege_level(&self) -> Result<Cpl, kvm_ioctls::Error> {
        self.cpl
            .map(|cpl| Cpl::from_low_bits(cpl.into()))
            .ok_or(kvm_ioctls::Error::new(KVM_ERROR))
    }

    fn mode(&self) -> Result<Mode, kvm_ioctls::Error> {
        self.mode.ok_or(kvm_ioctls::Error::new(KVM_ERROR))
    }

    fn translate(&self, gva: u64) -> Result<Option<Gpa>, kvm_ioctls::Error> {
        Ok((gva % 2 == 0).then_some(Gpa::new(gva)))
    }
}
