// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device without the SDK in between: any request, any structure, any pointer.

use crate::failure::Failure;
use hcall_guest::abi::ioctl::{self, Call, CallBuffer, DEVICE_PATH};
use rustix::io::{Errno, Result};
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};
use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};

/// An open device.
#[derive(Debug)]
pub(crate) struct RawDevice(File);

impl RawDevice {
    pub(crate) fn open() -> std::result::Result<Self, Failure> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(DEVICE_PATH)
            .map(Self)
            .map_err(|error| Failure::new(format!("{DEVICE_PATH}: {error}")))
    }

    /// `CALL`.
    pub(crate) fn call(&self, call: &mut Call) -> Result<()> {
        // SAFETY: the kernel accesses `call` and nothing else.
        unsafe { self.request(ioctl::CALL, (&raw mut *call).expose_provenance()) }
    }

    /// `CALL_BUFFER` on the bytes that `buffer` borrows; address, and length unless it
    /// was set, are filled in.
    pub(crate) fn call_buffer(&self, call: &mut CallBuffer, buffer: &mut [u8]) -> Result<()> {
        call.buffer = buffer.as_mut_ptr().expose_provenance() as u64;
        call.length = buffer.len() as u32;
        // SAFETY: address and length are those of `buffer`, borrowed exclusively.
        unsafe { self.call_buffer_at(call) }
    }

    /// `CALL_BUFFER` with address and length as they stand in the structure.
    ///
    /// # Safety
    ///
    /// Those bytes must be the caller's to have overwritten, or inaccessible.
    pub(crate) unsafe fn call_buffer_at(&self, call: &mut CallBuffer) -> Result<()> {
        // SAFETY: the kernel accesses `call` and the buffer, for which the caller vouches.
        unsafe { self.request(ioctl::CALL_BUFFER, (&raw mut *call).expose_provenance()) }
    }

    /// Any request with any address.
    ///
    /// # Safety
    ///
    /// What the request makes the kernel write at `address` must be the caller's to have
    /// overwritten, or inaccessible.
    pub(crate) unsafe fn request(&self, opcode: u32, address: usize) -> Result<()> {
        let request = Request { opcode, address };
        // SAFETY: the caller vouches for what the kernel does at the address.
        unsafe { rustix::ioctl::ioctl(&self.0, request) }
    }
}

impl AsFd for RawDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A request that promises nothing about its address.
struct Request {
    opcode: u32,
    address: usize,
}

// SAFETY: opcode and address are passed as they are, and no output is read from the
// address; that the kernel may write there is said by `IS_MUTATING`.
unsafe impl Ioctl for Request {
    type Output = ();

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::with_exposed_provenance_mut(self.address)
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> Result<()> {
        Ok(())
    }
}

/// What a refused request is compared with.
pub(crate) fn refused(errno: Errno) -> Result<()> {
    Err(errno)
}
