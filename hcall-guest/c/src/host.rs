// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall_detect`: who the host is, and how it is called.

use crate::answer::of_detection;
use core::mem::{offset_of, size_of};
use sdk::abi::convention::TrapInstruction;
use sdk::abi::ioctl::{INSTRUCTION_NONE, INSTRUCTION_VMCALL, INSTRUCTION_VMMCALL};
use sdk::Host;

/// `struct hcall_host` of the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HcallHost {
    /// The version of the ABI that both sides speak.
    pub abi_version: u32,
    /// Optional parts of the host, as bits.
    pub features: u32,
    /// The transport in use.
    pub transport: u32,
    /// The transports that the host offers, as bits.
    pub transports_offered: u32,
    /// The trap instruction in use, if the transport takes one.
    pub instruction: u32,
    /// Base of the host's CPUID block.
    pub cpuid_base: u32,
    /// Most entries of a batch.
    pub batch_entries: u32,
    /// Most entries of a ring.
    pub ring_entries: u32,
    /// Most bytes of a buffer.
    pub buffer_bytes: u32,
    /// Zero.
    pub reserved: [u32; 7],
}

const _: () = {
    assert!(size_of::<HcallHost>() == 64);
    assert!(offset_of!(HcallHost, buffer_bytes) == 32);
};

impl From<Host> for HcallHost {
    fn from(host: Host) -> Self {
        let advertisement = host.advertisement;
        Self {
            abi_version: advertisement.abi_version.get(),
            features: advertisement.features.bits(),
            transport: host.trap.transport().raw(),
            transports_offered: advertisement.transports.bits(),
            instruction: match host.trap.instruction() {
                None => INSTRUCTION_NONE,
                Some(TrapInstruction::Vmmcall) => INSTRUCTION_VMMCALL,
                Some(TrapInstruction::Vmcall) => INSTRUCTION_VMCALL,
            },
            cpuid_base: host.cpuid_base,
            batch_entries: advertisement.limits.batch_entries,
            ring_entries: advertisement.limits.ring_entries,
            buffer_bytes: advertisement.limits.buffer_bytes,
            reserved: [0; 7],
        }
    }
}

/// Looks for the host, in CPUID only; see `include/hcall_guest.h`.
///
/// # Safety
///
/// `host` must be null or the address of memory for one [`HcallHost`], aligned for it, that
/// nobody else uses meanwhile.
#[no_mangle]
pub unsafe extern "C" fn hcall_detect(host: *mut HcallHost) -> i64 {
    let found = match sdk::host() {
        Ok(found) => HcallHost::from(found),
        Err(error) => return of_detection(error),
    };
    if !host.is_null() {
        // SAFETY: the caller vouches for the memory.
        unsafe { host.write(found) };
    }
    0
}
