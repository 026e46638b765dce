// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host of the document's test vectors: the one of its worked example, deciding as
//! its section 11 says.

use hcall_abi::convention::Arguments;
use hcall_abi::cpuid::{Advertisement, Features, Limits};
use hcall_abi::layout::Clock;
use hcall_abi::result::KVM_ENOSYS_RESULT;
use hcall_abi::{
    encode_result, number, version, Errno, HypercallNumber, NumberError, Transport, TransportSet,
    ABI_VERSION,
};

/// End of the guest's memory, which begins at 0.
const MEMORY_END: u64 = 1 << 28;

/// What the host says of itself.
pub(crate) const ADVERTISEMENT: Advertisement = Advertisement {
    abi_version: ABI_VERSION,
    features: Features::CORE_CALLS,
    transports: TransportSet::EMPTY
        .with(Transport::Instruction)
        .with(Transport::Port),
    preferred: Some(Transport::Instruction),
    limits: Limits {
        batch_entries: 0,
        ring_entries: 0,
        buffer_bytes: 0x1_0000,
    },
};

/// What rax holds after the call.
pub(crate) fn answer(rax: u64, arguments: Arguments, cpl: u8) -> i64 {
    let Ok(number) = u32::try_from(rax) else {
        return encode_result(Err(Errno::EINVAL));
    };
    match HypercallNumber::new(number) {
        Ok(_) if cpl > 0 => encode_result(Err(Errno::EPERM)),
        Ok(number) => encode_result(handle(number, arguments)),
        Err(NumberError::Kvm(_)) => KVM_ENOSYS_RESULT,
        Err(_) => encode_result(Err(Errno::ENOSYS)),
    }
}

/// The core calls, as far as their answers need no VM.
fn handle(number: HypercallNumber, [first, second, ..]: Arguments) -> Result<u64, Errno> {
    match number {
        number::PROBE => Ok(version::PROBE_RESULT),
        number::FEATURES if first == 0 => Ok(ADVERTISEMENT.features.bits().into()),
        number::FEATURES => Ok(0),
        number::ECHO => Ok(first),
        number::CONSOLE_WRITE => check_buffer(first, second).map(|()| second),
        number::TIME if Clock::from_raw(first).is_none() => Err(Errno::EINVAL),
        number::EXIT if first > 0xff => Err(Errno::EINVAL),
        number::TIME | number::EXIT => panic!("no vector for a call that needs a VM"),
        _ => Err(Errno::ENOSYS),
    }
}

/// Section 8.
fn check_buffer(gpa: u64, length: u64) -> Result<(), Errno> {
    if length == 0 {
        return Ok(());
    }
    if length > ADVERTISEMENT.limits.buffer_bytes.into() {
        return Err(Errno::EMSGSIZE);
    }
    match gpa.checked_add(length) {
        Some(end) if end <= MEMORY_END => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}
