// SPDX-License-Identifier: MIT OR Apache-2.0
//! Buffers of a call: which way the bytes go, and where address and length stand among
//! the arguments.

use super::DeviceError;
use hcall_abi::convention::ARGUMENT_COUNT;
use hcall_abi::ioctl::{CallBuffer, BUFFER_IN, BUFFER_MAX, BUFFER_OUT};
use hcall_abi::HypercallNumber;

/// Memory that a call passes to the host, at most [`BUFFER_MAX`] bytes.
///
/// The host gets a copy in pages of the kernel's own, and what it writes is copied back
/// if it answered with success.
#[derive(Debug)]
pub enum Buffer<'a> {
    /// The host reads it.
    In(&'a [u8]),
    /// The host writes it; what it does not write becomes zero.
    Out(&'a mut [u8]),
    /// The host reads and writes it.
    InOut(&'a mut [u8]),
}

impl Buffer<'_> {
    fn len(&self) -> usize {
        match self {
            Self::In(bytes) => bytes.len(),
            Self::Out(bytes) | Self::InOut(bytes) => bytes.len(),
        }
    }

    fn flags(&self) -> u32 {
        match self {
            Self::In(_) => BUFFER_IN,
            Self::Out(_) => BUFFER_OUT,
            Self::InOut(_) => BUFFER_IN | BUFFER_OUT,
        }
    }

    fn address(&mut self) -> u64 {
        let pointer = match self {
            Self::In(bytes) => bytes.as_ptr(),
            Self::Out(bytes) | Self::InOut(bytes) => bytes.as_mut_ptr().cast_const(),
        };
        pointer.expose_provenance() as u64
    }

    /// The request for a call with these arguments before and after (GPA, length).
    pub(super) fn request(
        &mut self,
        number: HypercallNumber,
        before: &[u64],
        after: &[u64],
    ) -> Result<CallBuffer, DeviceError> {
        let length = self.len();
        if length > BUFFER_MAX as usize {
            return Err(DeviceError::BufferTooLong(length));
        }
        let count = before.len() + 2 + after.len();
        if count > ARGUMENT_COUNT {
            return Err(DeviceError::TooManyArguments(count));
        }
        let mut arguments = [0; ARGUMENT_COUNT];
        arguments[..before.len()].copy_from_slice(before);
        arguments[before.len() + 2..count].copy_from_slice(after);
        Ok(CallBuffer {
            number: number.get(),
            flags: self.flags(),
            arguments,
            result: 0,
            buffer: self.address(),
            length: length as u32,
            gpa_index: before.len() as u32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBER: HypercallNumber = HypercallNumber::user(1);

    #[test]
    fn address_and_length_leave_a_gap() {
        let mut bytes = [0; 16];
        let mut buffer = Buffer::Out(&mut bytes);
        let request = buffer.request(NUMBER, &[7], &[9]).unwrap();
        assert_eq!(request.arguments, [7, 0, 0, 9]);
        assert_eq!(request.gpa_index, 1);
        assert_eq!(request.length, 16);
        assert_eq!(request.flags, BUFFER_OUT);
        assert_eq!(request.buffer, bytes.as_ptr() as u64);
    }

    #[test]
    fn arguments_beyond_the_fourth_are_refused() {
        let refused = Buffer::In(b"x").request(NUMBER, &[1, 2], &[3]);
        assert_eq!(refused, Err(DeviceError::TooManyArguments(5)));
        assert!(Buffer::In(b"x").request(NUMBER, &[1, 2], &[]).is_ok());
        assert!(Buffer::In(b"x").request(NUMBER, &[], &[1, 2]).is_ok());
    }

    #[test]
    fn more_than_the_longest_is_refused() {
        let long = vec![0; BUFFER_MAX as usize + 1];
        let refused = Buffer::In(&long).request(NUMBER, &[], &[]);
        assert_eq!(refused, Err(DeviceError::BufferTooLong(long.len())));
        assert!(Buffer::In(&long[1..]).request(NUMBER, &[], &[]).is_ok());
    }
}
