// SPDX-License-Identifier: MIT OR Apache-2.0
//! Single calls, with and without a buffer.

use crate::check::{equal, Check};
use hcall_guest::abi::ioctl::BUFFER_MAX;
use hcall_guest::abi::number::RANDOM;
use hcall_guest::device::{Buffer, Device, DeviceError};
use hcall_guest::{Errno, HypercallNumber};
use hcall_lab_contract::{mix, ArgumentSequence, FAIL, FILL, MIX, SUM, UNREGISTERED};

const ROUNDS: usize = 200;
const MOST: usize = BUFFER_MAX as usize;
const LENGTHS: [usize; 7] = [0, 1, 4095, 4096, 4097, MOST - 1, MOST];

pub(crate) fn every_arity() -> Check {
    let device = Device::open()?;
    let mut sequence = ArgumentSequence::new(1);
    for arity in 0..MIX.len() {
        for _ in 0..ROUNDS {
            mixes(&device, arity, sequence.next_arguments(arity))?;
        }
    }
    Ok(())
}

pub(crate) fn extreme_arguments() -> Check {
    let device = Device::open()?;
    for value in [
        0,
        1,
        u32::MAX.into(),
        1 << 32,
        i64::MAX as u64,
        1 << 63,
        u64::MAX,
    ] {
        for place in 0..4 {
            let mut arguments = [!value; 4];
            arguments[place] = value;
            mixes(&device, 4, arguments)?;
        }
    }
    Ok(())
}

fn mixes(device: &Device, arity: usize, arguments: [u64; 4]) -> Check {
    let answer = device.call(MIX[arity], &arguments)?;
    equal("MIX", answer, mix(arity as u64, arguments))
}

pub(crate) fn errno_of_the_host() -> Check {
    use Errno as E;
    let device = Device::open()?;
    for errno in [
        E::EPERM,
        E::ENOENT,
        E::EFAULT,
        E::EINVAL,
        E::ENOTTY,
        E::ENOSYS,
        E::EOPNOTSUPP,
    ] {
        let answer = device.hcall1(FAIL, errno.get().into());
        equal("FAIL", answer, Err(DeviceError::Call(errno.into())))?;
    }
    Ok(())
}

pub(crate) fn unknown_number() -> Check {
    let device = Device::open()?;
    let due = Err(DeviceError::Call(Errno::ENOSYS.into()));
    equal("answer", device.hcall0(UNREGISTERED), due.clone())?;
    equal(
        "of 0x3000",
        device.hcall0(HypercallNumber::new(0x3000)?),
        due,
    )
}

/// Numbers of KVM, Xen and Hyper-V have no `HypercallNumber`: what is left to refuse is a
/// call with an address from the process.
pub(crate) fn forbidden_numbers() -> Check {
    for number in [0, 12, 15, 32, 1 << 31, u32::MAX] {
        equal("a number", HypercallNumber::new(number).is_err(), true)?;
    }
    let answer = Device::open()?.hcall0(RANDOM);
    equal("RANDOM", answer, Err(DeviceError::Refused(RANDOM)))
}

pub(crate) fn host_reads() -> Check {
    let device = Device::open()?;
    let mut bytes = [0; MOST];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = (index * 7 + 1) as u8;
    }
    for length in LENGTHS {
        let bytes = &mut bytes[..length];
        let due = bytes.iter().map(|byte| u64::from(*byte)).sum();
        let answer = device.call_buffer(SUM, &[], Buffer::In(bytes), &[])?;
        equal("SUM", answer, due)?;
        let answer = device.call_buffer(SUM, &[], Buffer::InOut(bytes), &[])?;
        equal("SUM", answer, due)?;
    }
    Ok(())
}

pub(crate) fn host_writes() -> Check {
    let device = Device::open()?;
    let mut bytes = [0; MOST];
    for length in [4095, MOST - 1] {
        let (filled, rest) = bytes.split_at_mut(length);
        let answer = device.call_buffer(FILL, &[0x3c], Buffer::Out(filled), &[])?;
        equal("FILL", answer, length as u64)?;
        equal("bytes", filled.iter().all(|byte| *byte == 0x3c), true)?;
        equal("the next", rest[0], 0)?;
    }
    device.random(&mut bytes)?;
    equal("as it was", bytes.iter().all(|byte| *byte == 0x3c), false)
}

pub(crate) fn long_buffer() -> Check {
    let bytes = [0; MOST + 1];
    let answer = Device::open()?.call_buffer(SUM, &[], Buffer::In(&bytes), &[]);
    equal("call", answer, Err(DeviceError::BufferTooLong(bytes.len())))
}

pub(crate) fn console_write() -> Check {
    Ok(Device::open()?.console_write(b"# written by a client in Rust\n")?)
}
