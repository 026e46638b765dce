// SPDX-License-Identifier: MIT OR Apache-2.0
//! The processor state in which the VMM's guests begin: 32-bit protected mode, flat
//! segments, no paging. It is what PVH and Linux' 32-bit boot protocol ask for.

use kvm_bindings::{kvm_segment, kvm_sregs};

/// CR0.PE.
const PROTECTION_ENABLE: u64 = 1;
/// Selectors as Linux' boot protocol wants them (`__BOOT_CS`, `__BOOT_DS`).
const CODE_SELECTOR: u16 = 0x10;
const DATA_SELECTOR: u16 = 0x18;
/// Descriptor types (SDM volume 3, 3.4.5.1 and 3.5), accessed or busy.
const TYPE_CODE_READ: u8 = 0xb;
const TYPE_DATA_WRITE: u8 = 0x3;
const TYPE_TSS32_BUSY: u8 = 0xb;

/// Changes `sregs`, as KVM gave them, to flat 32-bit protected mode.
pub(crate) fn enter(sregs: &mut kvm_sregs) {
    let code = flat(CODE_SELECTOR, TYPE_CODE_READ);
    let data = flat(DATA_SELECTOR, TYPE_DATA_WRITE);
    sregs.cs = code;
    sregs.ds = data;
    sregs.es = data;
    sregs.fs = data;
    sregs.gs = data;
    sregs.ss = data;
    sregs.tr = kvm_segment {
        limit: 0x67,
        type_: TYPE_TSS32_BUSY,
        present: 1,
        ..Default::default()
    };
    sregs.cr0 |= PROTECTION_ENABLE;
}

fn flat(selector: u16, type_: u8) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector,
        type_,
        present: 1,
        dpl: 0,
        db: 1,
        s: 1,
        l: 0,
        g: 1,
        ..Default::default()
    }
}
