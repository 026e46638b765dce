// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a handler sees of a call, and what it may ask for.

use crate::abi::{HostFunctions, RawCall, Registers, SpecialRegisters};
use crate::deferred::Deferred;
use crate::host::{errno, newer, Host};
use crate::interrupts::InterruptVector;
use hcall_abi::convention::{Arguments, ARGUMENT_COUNT};
use hcall_abi::{Errno, Gpa, HypercallNumber};
use std::fmt;
use std::marker::PhantomData;
use std::ptr;

/// What a handler answers: a payload below 2^63, or an errno.
pub type HypercallResult = Result<u64, Errno>;

/// How wide the registers of a caller are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// 64-bit mode.
    Bits64,
    /// 32-bit protected mode, or compatibility mode.
    Bits32,
}

/// One call, on the thread of the vCPU that made it, or of the ring through which it came.
pub struct Call<'call> {
    raw: *mut RawCall,
    /// The host's table, which ends before what the host does not know.
    functions: *const HostFunctions,
    lifetime: PhantomData<&'call mut RawCall>,
}

impl Call<'_> {
    /// # Safety
    ///
    /// Both are what the host has given a handler, which has not returned.
    pub(crate) unsafe fn new(raw: *mut RawCall, functions: *const HostFunctions) -> Self {
        Self {
            raw,
            functions,
            lifetime: PhantomData,
        }
    }

    /// The number that was called.
    ///
    /// # Panics
    ///
    /// If the host calls with a number that nobody can have.
    pub fn number(&self) -> HypercallNumber {
        // SAFETY: `raw` is the call that the host has given, by `new`'s contract.
        let number = unsafe { ((*self.functions).number)(self.raw) };
        HypercallNumber::new(number).expect("a host passes calls of registered numbers")
    }

    /// All arguments.
    pub fn args(&self) -> Arguments {
        let mut arguments = [0; ARGUMENT_COUNT];
        // SAFETY: the host's own call, and room for its four arguments.
        unsafe { ((*self.functions).arguments)(self.raw, arguments.as_mut_ptr()) };
        arguments
    }

    /// Argument `INDEX`, 0 to 3; another index does not compile.
    pub fn arg<const INDEX: usize>(&self) -> u64 {
        const { assert!(INDEX < ARGUMENT_COUNT, "a call has four arguments") };
        self.args()[INDEX]
    }

    /// The identifier of the vCPU that made the call; none through a ring.
    pub fn vcpu_id(&self) -> Option<u32> {
        // SAFETY: the host's own call.
        let answer = unsafe { ((*self.functions).vcpu)(self.raw) };
        u32::try_from(answer).ok()
    }

    /// The caller's privilege level, 0 to 3.
    ///
    /// # Errors
    ///
    /// EIO if KVM does not say.
    pub fn cpl(&self) -> Result<u8, Errno> {
        // SAFETY: the host's own call.
        let answer = unsafe { ((*self.functions).cpl)(self.raw) };
        u8::try_from(answer).map_err(|_| errno(answer))
    }

    /// The caller's mode.
    ///
    /// # Errors
    ///
    /// EIO if KVM does not say.
    pub fn mode(&self) -> Result<Mode, Errno> {
        // SAFETY: the host's own call.
        match unsafe { ((*self.functions).mode)(self.raw) } {
            64 => Ok(Mode::Bits64),
            32 => Ok(Mode::Bits32),
            other => Err(errno(other)),
        }
    }

    /// Fills `bytes` from guest memory at `gpa`.
    ///
    /// Other vCPUs may change it at any time: check the copy, and use the copy.
    ///
    /// # Errors
    ///
    /// EFAULT if the range is not all guest memory.
    pub fn read(&self, gpa: Gpa, bytes: &mut [u8]) -> Result<(), Errno> {
        let length = bytes.len() as u64;
        // SAFETY: the host's own call, and `length` bytes that it may write.
        done(unsafe {
            ((*self.functions).read)(self.raw, gpa.get(), bytes.as_mut_ptr().cast(), length)
        })
    }

    /// Copies `bytes` to guest memory at `gpa`: all or, on an error, nothing.
    ///
    /// # Errors
    ///
    /// EFAULT if the range is not all guest memory.
    pub fn write(&self, gpa: Gpa, bytes: &[u8]) -> Result<(), Errno> {
        let length = bytes.len() as u64;
        // SAFETY: the host's own call, and `length` bytes that it may read.
        done(unsafe {
            ((*self.functions).write)(self.raw, gpa.get(), bytes.as_ptr().cast(), length)
        })
    }

    /// The guest-physical address that the guest's current page tables give for `gva`.
    ///
    /// # Errors
    ///
    /// EFAULT if it is not mapped, EIO if KVM does not say, EOPNOTSUPP through a ring.
    pub fn translate(&self, gva: u64) -> Result<Gpa, Errno> {
        let mut gpa = 0;
        // SAFETY: the host's own call, and a place for the address.
        done(unsafe { ((*self.functions).translate)(self.raw, gva, &mut gpa) })?;
        Ok(Gpa::new(gpa))
    }

    /// As [`read`](Self::read), at a guest-virtual address.
    ///
    /// # Errors
    ///
    /// EFAULT if the caller may not read there; else as [`translate`](Self::translate).
    pub fn read_virtual(&self, gva: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        let length = bytes.len() as u64;
        // SAFETY: as in `read`.
        done(unsafe {
            ((*self.functions).read_virtual)(self.raw, gva, bytes.as_mut_ptr().cast(), length)
        })
    }

    /// As [`write`](Self::write), at a guest-virtual address.
    ///
    /// # Errors
    ///
    /// EFAULT if the caller may not write there; else as [`translate`](Self::translate).
    pub fn write_virtual(&self, gva: u64, bytes: &[u8]) -> Result<(), Errno> {
        let length = bytes.len() as u64;
        // SAFETY: as in `write`.
        done(unsafe {
            ((*self.functions).write_virtual)(self.raw, gva, bytes.as_ptr().cast(), length)
        })
    }

    /// The vCPU's general registers at the call.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP through a ring.
    pub fn registers(&mut self) -> Result<Registers, Errno> {
        let mut registers = Registers::default();
        // SAFETY: the host's own call, and a place for the registers.
        done(unsafe { ((*self.functions).registers)(self.raw, &mut registers) })?;
        Ok(registers)
    }

    /// Sets the vCPU's general registers. rax and rip are the call's, and stay.
    ///
    /// The ABI promises guests that no register but rax changes; a handler that uses this has
    /// a contract of its own.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP through a ring.
    pub fn set_registers(&mut self, registers: &Registers) -> Result<(), Errno> {
        // SAFETY: the host's own call, and registers to be read.
        done(unsafe { ((*self.functions).set_registers)(self.raw, registers) })
    }

    /// The vCPU's segments, descriptor tables and control registers.
    ///
    /// # Errors
    ///
    /// EIO if KVM does not say, EOPNOTSUPP through a ring, and in a host that is older than
    /// this.
    pub fn special_registers(&self) -> Result<SpecialRegisters, Errno> {
        let function = newer!(self.functions, special_registers)?;
        let mut registers = SpecialRegisters::default();
        // SAFETY: the host's own call, and a place for the registers.
        done(unsafe { function(self.raw, &mut registers) })?;
        Ok(registers)
    }

    /// Sets the vCPU's segments, descriptor tables and control registers: all of them, so that
    /// they should be [read](Self::special_registers) before.
    ///
    /// As with [`set_registers`](Self::set_registers), the ABI promises guests otherwise. The
    /// guest has its answer only if the instruction is still at the same linear address; and
    /// what KVM takes and no processor enters ends the VM.
    ///
    /// # Errors
    ///
    /// EIO if KVM refuses, EINVAL if anything reserved is not 0; else as
    /// [`special_registers`](Self::special_registers).
    pub fn set_special_registers(&mut self, registers: &SpecialRegisters) -> Result<(), Errno> {
        let function = newer!(self.functions, set_special_registers)?;
        // SAFETY: the host's own call, and registers to be read.
        done(unsafe { function(self.raw, registers) })
    }

    /// Gives vCPU `vcpu_id`, this one or another, the interrupt `vector`: by its local APIC,
    /// whatever it does at the moment. Possible through a ring too.
    ///
    /// # Errors
    ///
    /// ENXIO if there is no such vCPU or its guest has not switched its local APIC on, EIO if
    /// KVM refuses, EOPNOTSUPP where the VMM offers no interrupts, and in a host that is older
    /// than this.
    pub fn inject_interrupt(&self, vcpu_id: u32, vector: InterruptVector) -> Result<(), Errno> {
        let function = newer!(self.functions, inject_interrupt)?;
        // SAFETY: the host's own call.
        done(unsafe { function(self.raw, vcpu_id, vector.get()) })
    }

    /// Puts the answer off: the vCPU waits until the [`Deferred`] has answered, from any
    /// thread.
    ///
    /// What the handler returns is the answer all the same if it is an error, or if the handler
    /// panics: then nobody waits for the `Deferred`. A payload is not looked at.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP in a batch and through a ring, where other calls would have to wait, and in a
    /// host that is older than this; EBUSY if the handler has deferred already, or has asked
    /// for the end of the VM.
    pub fn defer(&mut self) -> Result<Deferred, Errno> {
        let function = newer!(self.functions, defer)?;
        let mut raw = ptr::null_mut();
        // SAFETY: the host's own call, and a place for what it gives.
        done(unsafe { function(self.raw, &mut raw) })?;
        // SAFETY: the host's own table, which has just given it.
        Ok(unsafe { Deferred::new(self.functions, raw) })
    }

    /// Ends the VM with `status` once the handler has returned; the guest is not resumed.
    pub fn request_exit(&mut self, status: u8) {
        // SAFETY: the host's own call.
        unsafe { ((*self.functions).request_exit)(self.raw, status) };
    }

    /// Ends the VM as panicked with `message` once the handler has returned.
    pub fn request_panic(&mut self, message: &str) {
        let length = message.len() as u64;
        // SAFETY: the host's own call, and `length` bytes of text.
        unsafe { ((*self.functions).request_panic)(self.raw, message.as_ptr().cast(), length) };
    }

    /// The host, to log something.
    pub fn host(&self) -> Host {
        // SAFETY: the functions are the host's own, which stand until the plugin is unloaded.
        unsafe { Host::new(self.functions) }
    }
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Call")
            .field("number", &self.number())
            .field("arguments", &self.args())
            .finish_non_exhaustive()
    }
}

/// What 0 or a negative errno means.
fn done(answer: i32) -> Result<(), Errno> {
    match answer {
        0 => Ok(()),
        negative => Err(errno(negative)),
    }
}
