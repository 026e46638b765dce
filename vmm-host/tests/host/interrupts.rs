// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts that handlers give to vCPUs, as far as they go without KVM.

use crate::fake_vcpu::{call, host};
use hcall_abi::{Errno, HypercallNumber};
use hcall_vmm::interrupts::{InterruptError, InterruptVector, Interrupts};
use hcall_vmm::HypercallHost;
use std::sync::{Arc, Mutex};

const INJECT: HypercallNumber = HypercallNumber::user(1);

fn errno(errno: Errno) -> i64 {
    -i64::from(errno.get())
}

/// Registers `INJECT(vcpu, vector)`.
fn register(host: &HypercallHost) {
    host.hypercalls()
        .register(INJECT, |call| {
            let vector = u8::try_from(call.arg::<1>()).map_err(|_| Errno::EINVAL)?;
            let vector = InterruptVector::new(vector).ok_or(Errno::EINVAL)?;
            call.inject_interrupt(call.arg::<0>() as u32, vector)?;
            Ok(0)
        })
        .expect("the number is free");
}

/// The local APIC of the only vCPU.
#[derive(Clone, Default)]
struct Apics(Arc<Mutex<Vec<(u32, u8)>>>);

impl Interrupts for Apics {
    fn inject(&self, vcpu_id: u32, vector: InterruptVector) -> Result<(), InterruptError> {
        match vcpu_id {
            0 => {
                let mut taken = self.0.lock().expect("no panic");
                taken.push((vcpu_id, vector.get()));
                Ok(())
            }
            id => Err(InterruptError::NotTaken(id)),
        }
    }
}

#[test]
fn vectors_begin_at_16() {
    for number in 0..=u8::MAX {
        let vector = InterruptVector::new(number).map(InterruptVector::get);
        assert_eq!(vector, (number >= 16).then_some(number));
    }
}

#[test]
fn a_handler_injects_what_the_vmm_lets_it() {
    let (host, _memory) = host();
    let apics = Apics::default();
    let host = host.with_interrupts(apics.clone());
    register(&host);
    assert_eq!(call(&host, INJECT.get(), [0, 0x40, 0, 0]), 0);
    assert_eq!(call(&host, INJECT.get(), [0, 0xff, 0, 0]), 0);
    assert_eq!(
        call(&host, INJECT.get(), [0, 0xf, 0, 0]),
        errno(Errno::EINVAL)
    );
    assert_eq!(
        call(&host, INJECT.get(), [1, 0x40, 0, 0]),
        errno(Errno::ENXIO)
    );
    assert_eq!(*apics.0.lock().expect("no panic"), [(0, 0x40), (0, 0xff)]);
}

#[test]
fn without_interrupts_there_are_none() {
    let (host, _memory) = host();
    register(&host);
    let answer = call(&host, INJECT.get(), [0, 0x40, 0, 0]);
    assert_eq!(answer, errno(Errno::EOPNOTSUPP));
}
