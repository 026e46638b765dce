// SPDX-License-Identifier: MIT OR Apache-2.0
//! The carrier's registers: what is a call of ours, and what is KVM's.

use hcall_abi::carrier::{CarrierRegisters, GPA, MAGIC, NUMBER, PAGES};

/// Every attribute that KVM_HC_MAP_GPA_RANGE has: the page size in bits 0–3, encryption in
/// bit 4 (include/uapi/linux/kvm_para.h).
const ATTRIBUTES: u64 = 0x1f;
const PAGE_SIZE: u64 = 4096;

#[test]
fn every_number_comes_back() {
    for number in [0, 1, 12, 0x4843_0000, 0x4843_8001, 1 << 31, u32::MAX] {
        assert_eq!(CarrierRegisters::carrying(number).number(), Some(number));
    }
}

#[test]
fn kvms_checks_pass() {
    let registers = CarrierRegisters::carrying(u32::MAX);
    assert_eq!(registers.rax, 12);
    assert_eq!(registers.rbx % PAGE_SIZE, 0);
    assert_ne!(registers.rcx, 0);
    assert!((registers.rbx / PAGE_SIZE)
        .checked_add(registers.rcx)
        .is_some());
}

#[test]
fn a_real_request_is_none_of_ours() {
    for rdx in 0..=ATTRIBUTES {
        for (rbx, rcx) in [(GPA, PAGES), (0x1000, 1), (0, 512)] {
            let request = CarrierRegisters {
                rax: NUMBER,
                rbx,
                rcx,
                rdx,
            };
            assert_eq!(request.number(), None, "{request:x?}");
        }
    }
}

#[test]
fn a_wrong_register_is_none_of_ours() {
    let call = CarrierRegisters::carrying(0x4843_0000);
    for wrong in [
        CarrierRegisters { rax: 11, ..call },
        CarrierRegisters {
            rax: (1 << 32) | NUMBER,
            ..call
        },
        CarrierRegisters {
            rbx: 0x1000,
            ..call
        },
        CarrierRegisters { rcx: 0, ..call },
        CarrierRegisters { rcx: 2, ..call },
        CarrierRegisters {
            rdx: call.rdx ^ (1 << 32),
            ..call
        },
        CarrierRegisters {
            rdx: u64::from(MAGIC),
            ..call
        },
        CarrierRegisters {
            rdx: u64::MAX,
            ..call
        },
    ] {
        assert_eq!(wrong.number(), None, "{wrong:x?}");
    }
}
