// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall0` … `hcall4`: detect once, trap, decode.

use crate::arch;
use crate::detect::{DetectError, Host, Trap};
use core::sync::atomic::{AtomicU8, Ordering};
use hcall_abi::convention::Arguments;
use hcall_abi::{decode_result, CallError, Errno, HypercallNumber};

/// Why a call gave no payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// No call can be made on this machine; nothing was executed.
    Unavailable(DetectError),
    /// The call was made, and did not succeed.
    Call(CallError),
    /// This argument needs more bits than a register of this guest has; nothing was
    /// executed. Only 32-bit guests have such arguments.
    ArgumentTooWide(u64),
}

impl Error {
    /// The errno, if the host gave one.
    pub const fn errno(self) -> Option<Errno> {
        match self {
            Self::Call(error) => error.errno(),
            Self::Unavailable(_) | Self::ArgumentTooWide(_) => None,
        }
    }
}

impl core::fmt::Display for Error {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unavailable(error) => error.fmt(formatter),
            Self::Call(error) => error.fmt(formatter),
            Self::ArgumentTooWide(argument) => write!(
                formatter,
                "the argument {argument:#x} does not fit this guest's registers of {} bits",
                usize::BITS
            ),
        }
    }
}

impl core::error::Error for Error {}

impl From<DetectError> for Error {
    fn from(error: DetectError) -> Self {
        Self::Unavailable(error)
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

/// The trap in use, once detection has succeeded. Every CPU that detects finds the same,
/// so a relaxed store by each of them is enough.
static TRAP: AtomicU8 = AtomicU8::new(UNDETECTED);

const UNDETECTED: u8 = 0;
/// The others in the order of [`Trap`], so that translating one is a subtraction.
const VMMCALL: u8 = 1;
const VMCALL: u8 = 2;
const CARRIER_VMMCALL: u8 = 3;
const CARRIER_VMCALL: u8 = 4;
const PORT: u8 = 5;
/// CPUID shows no host, and will show none later: looking again would cost an exit a leaf.
const NO_HOST: u8 = 6;

/// What the host says of itself, read from CPUID anew.
///
/// # Errors
///
/// [`DetectError`] says why no call can be made.
///
/// # Examples
///
/// ```
/// // In a process outside such a VM, or at CPL 3 inside one, there is nothing to call.
/// assert!(hcall_guest::host().is_err());
/// ```
pub fn host() -> Result<Host, DetectError> {
    let host = Host::detect(arch::cpuid)?;
    match arch::current_privilege_level() {
        0 => Ok(host),
        level => Err(DetectError::Privilege(level)),
    }
}

#[inline]
fn detected_trap() -> Result<Trap, DetectError> {
    match TRAP.load(Ordering::Relaxed) {
        VMMCALL => Ok(Trap::Vmmcall),
        VMCALL => Ok(Trap::Vmcall),
        CARRIER_VMMCALL => Ok(Trap::CarrierVmmcall),
        CARRIER_VMCALL => Ok(Trap::CarrierVmcall),
        PORT => Ok(Trap::Port),
        _ => detect_trap(),
    }
}

#[cold]
fn detect_trap() -> Result<Trap, DetectError> {
    if TRAP.load(Ordering::Relaxed) == NO_HOST {
        return Err(DetectError::NoHost);
    }
    let trap = host().map(|host| host.trap);
    let cached = match trap {
        Ok(Trap::Vmmcall) => VMMCALL,
        Ok(Trap::Vmcall) => VMCALL,
        Ok(Trap::CarrierVmmcall) => CARRIER_VMMCALL,
        Ok(Trap::CarrierVmcall) => CARRIER_VMCALL,
        Ok(Trap::Port) => PORT,
        Err(DetectError::NoHost) => NO_HOST,
        Err(_) => UNDETECTED,
    };
    TRAP.store(cached, Ordering::Relaxed);
    trap
}

#[inline]
fn call(number: HypercallNumber, arguments: Arguments) -> Result<u64, Error> {
    let trap = detected_trap()?;
    if let Some(argument) = arch::too_wide(&arguments) {
        return Err(Error::ArgumentTooWide(argument));
    }
    let [rbx, rcx, rdx, rsi] = arguments;
    // SAFETY: the trap was detected on this machine.
    let raw = unsafe { make(trap, number.get(), rbx, rcx, rdx, rsi) };
    Ok(decode_result(raw)?)
}

/// The trap itself: one place in the program, since it is there for each [`Trap`]; what goes
/// in and comes out does so in registers.
///
/// # Safety
///
/// `trap` must come from a successful detection on this machine.
#[inline(never)]
unsafe fn make(trap: Trap, number: u32, rbx: u64, rcx: u64, rdx: u64, rsi: u64) -> i64 {
    // SAFETY: the caller detected it; for the effect on memory see "Why a call is safe" in
    // the crate's documentation.
    unsafe { arch::trap(trap, number, [rbx, rcx, rdx, rsi]) }
}

macro_rules! define_hcall {
    ($name:ident, $count:literal $(, $argument:ident)*; $($zero:literal),*) => {
        #[doc = concat!("Makes the hypercall `number` with ", $count, ".")]
        ///
        /// Argument registers that the call does not use are zero. The answer is a
        /// payload below 2^63. In a 32-bit guest arguments are below 2^32, and the payload is below
        /// 2^31.
        ///
        /// # Errors
        ///
        /// [`Error::Unavailable`] and [`Error::ArgumentTooWide`] if nothing was executed,
        /// [`Error::Call`] if the host answered with an errno, or is not an hcall host
        /// after all.
        #[inline]
        pub fn $name(number: HypercallNumber $(, $argument: u64)*) -> Result<u64, Error> {
            call(number, [$($argument,)* $($zero),*])
        }
    };
}

define_hcall!(hcall0, "no argument"; 0, 0, 0, 0);
define_hcall!(hcall1, "one argument (rbx)", rbx; 0, 0, 0);
define_hcall!(hcall2, "two arguments (rbx, rcx)", rbx, rcx; 0, 0);
define_hcall!(hcall3, "three arguments (rbx, rcx, rdx)", rbx, rcx, rdx; 0);
define_hcall!(hcall4, "four arguments (rbx, rcx, rdx, rsi)", rbx, rcx, rdx, rsi;);
