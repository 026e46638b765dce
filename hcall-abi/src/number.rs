// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! Hypercall numbers: which are usable, whose they are, and the core calls.
//!
//! A number is 32 bits wide. Some can never reach a VMM, because KVM or Xen emulation
//! in the host kernel may take them first; [`HypercallNumber`] cannot hold those.
//!
//! | numbers | owner |
//! |---|---|
//! | `0..=12` | KVM (`include/uapi/linux/kvm_para.h`) |
//! | 15, 17, 24, 29, 32 | Xen emulation in KVM (`arch/x86/kvm/xen.c`) |
//! | `0x4843_0000..=0x4843_7fff` | hcall core calls |
//! | `0x4843_8000..=0x4843_ffff` | hcall user calls |
//! | `0x8000_0000..` | Hyper-V emulation in KVM (`arch/x86/kvm/hyperv.c`) |
//! | every other number | whoever the VMM registers |

/// First number of the core range.
pub const CORE_FIRST: u32 = 0x4843_0000;
/// Last number of the core range.
pub const CORE_LAST: u32 = 0x4843_7fff;
/// First number of the user range.
pub const USER_FIRST: u32 = 0x4843_8000;
/// Last number of the user range.
pub const USER_LAST: u32 = 0x4843_ffff;

/// Last of KVM's own numbers, which begin at 0.
pub const KVM_LAST: u32 = 12;
/// The numbers that Xen emulation in KVM may take.
pub const XEN_NUMBERS: [u32; 5] = [15, 17, 24, 29, 32];
/// Numbers with this bit set go to Hyper-V emulation in KVM.
pub const HYPERV_BIT: u32 = 1 << 31;

/// A number that a guest can call and a VMM can register.
///
/// # Examples
///
/// ```
/// use hcall_abi::{HypercallNumber, NumberError};
///
/// const GREET: HypercallNumber = HypercallNumber::user(0x01);
/// assert_eq!(HypercallNumber::new(0x3000).unwrap().get(), 0x3000);
/// assert_eq!(HypercallNumber::new(12), Err(NumberError::Kvm(12)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct HypercallNumber(u32);

impl HypercallNumber {
    /// Any usable number.
    ///
    /// # Errors
    ///
    /// [`NumberError`] names the owner of a number that can never reach a VMM.
    pub const fn new(number: u32) -> Result<Self, NumberError> {
        if number <= KVM_LAST {
            return Err(NumberError::Kvm(number));
        }
        if number & HYPERV_BIT != 0 {
            return Err(NumberError::HyperV(number));
        }
        let mut index = 0;
        while index < XEN_NUMBERS.len() {
            if XEN_NUMBERS[index] == number {
                return Err(NumberError::Xen(number));
            }
            index += 1;
        }
        Ok(Self(number))
    }

    /// The number `offset` of the user range, where a VMM's own calls belong.
    ///
    /// # Panics
    ///
    /// If `offset` is above 0x7fff; in a `const` that is a compile error.
    pub const fn user(offset: u16) -> Self {
        assert!(
            offset <= (USER_LAST - USER_FIRST) as u16,
            "offset outside the user range"
        );
        Self(USER_FIRST + offset as u32)
    }

    const fn core(offset: u16) -> Self {
        Self(CORE_FIRST + offset as u32)
    }

    /// The number as it stands in eax.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Whether the call is a core call with a guest-physical address among its arguments,
    /// or one that disposes of shared memory: a kernel must not pass it on from a process
    /// unseen.
    pub const fn takes_gpa(self) -> bool {
        matches!(
            self,
            CONSOLE_WRITE
                | TIME
                | GUEST_INFO
                | STATS
                | RANDOM
                | PANIC
                | BATCH
                | RING_SETUP
                | RING_TEARDOWN
        )
    }

    /// Whether the call ends the whole VM, other processes' work included: a kernel makes it
    /// only for a process that could also reboot the machine.
    pub const fn ends_the_vm(self) -> bool {
        matches!(self, EXIT | PANIC)
    }

    /// Which argument of a core call is the address of its one (GPA, length) buffer, or of
    /// the structure that the host writes; `None` for every other number. A kernel that
    /// fills in this argument itself can admit the call from a process.
    pub const fn gpa_index(self) -> Option<usize> {
        match self {
            CONSOLE_WRITE | GUEST_INFO | STATS | RANDOM | PANIC => Some(0),
            TIME => Some(1),
            _ => None,
        }
    }

    /// The name of a core call, as the specification spells it.
    pub fn name(self) -> Option<&'static str> {
        CORE_CALLS
            .iter()
            .find(|(number, _)| *number == self)
            .map(|(_, name)| *name)
    }
}

impl core::fmt::Debug for HypercallNumber {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "HypercallNumber({:#x})", self.0)
    }
}

impl core::fmt::Display for HypercallNumber {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "{:#x}", self.0)
    }
}

impl TryFrom<u32> for HypercallNumber {
    type Error = NumberError;

    fn try_from(number: u32) -> Result<Self, NumberError> {
        Self::new(number)
    }
}

impl From<HypercallNumber> for u32 {
    fn from(number: HypercallNumber) -> u32 {
        number.0
    }
}

/// Why a number can never be a hypercall of ours; each variant carries the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NumberError {
    /// KVM's own numbers; the host kernel answers them.
    Kvm(u32),
    /// A number that Xen emulation in the host kernel may take.
    Xen(u32),
    /// Bit 31 is set; Hyper-V emulation in the host kernel may take it.
    HyperV(u32),
}

impl core::fmt::Display for NumberError {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (number, owner) = match self {
            Self::Kvm(number) => (number, "KVM (numbers 0 to 12)"),
            Self::Xen(number) => (number, "Xen emulation in KVM (15, 17, 24, 29, 32)"),
            Self::HyperV(number) => (number, "Hyper-V emulation in KVM (bit 31 set)"),
        };
        write!(
            formatter,
            "hypercall number {number:#x} belongs to {owner} and cannot be used; \
             your own calls belong to {USER_FIRST:#x}..={USER_LAST:#x}"
        )
    }
}

impl core::error::Error for NumberError {}

/// `PROBE()` → [`PROBE_RESULT`](super::version::PROBE_RESULT).
pub const PROBE: HypercallNumber = HypercallNumber::core(0);
/// `FEATURES(word)` → 32 feature bits; word 0 is [`Features`](super::cpuid::Features), others 0.
pub const FEATURES: HypercallNumber = HypercallNumber::core(1);
/// `ECHO(value)` → `value`; −ERANGE if bit 63 is set.
pub const ECHO: HypercallNumber = HypercallNumber::core(2);
/// `CONSOLE_WRITE(gpa, length)` → bytes written.
pub const CONSOLE_WRITE: HypercallNumber = HypercallNumber::core(3);
/// `TIME(clock, gpa)` → 0; writes a [`TimeValue`](super::layout::TimeValue).
pub const TIME: HypercallNumber = HypercallNumber::core(4);
/// `TSC_KHZ()` → frequency of the guest's time-stamp counter in kHz.
pub const TSC_KHZ: HypercallNumber = HypercallNumber::core(5);
/// `GUEST_INFO(gpa, length)` → bytes written of a [`GuestInfo`](super::layout::GuestInfo).
pub const GUEST_INFO: HypercallNumber = HypercallNumber::core(6);
/// `STATS(gpa, length)` → bytes written of a [`Stats`](super::layout::Stats).
pub const STATS: HypercallNumber = HypercallNumber::core(7);
/// `RANDOM(gpa, length)` → bytes written of randomness from the host.
pub const RANDOM: HypercallNumber = HypercallNumber::core(8);
/// `EXIT(code)` → does not return; the VMM ends with `code` (0..=255).
pub const EXIT: HypercallNumber = HypercallNumber::core(9);
/// `PANIC(gpa, length)` → does not return; the VMM reports the UTF-8 message.
pub const PANIC: HypercallNumber = HypercallNumber::core(10);
/// `BATCH(gpa, count, flags)` → how many [entries](super::batch::BatchEntry) were answered.
pub const BATCH: HypercallNumber = HypercallNumber::core(11);
/// `RING_SETUP(gpa, length)` → the ring's identifier; reads and writes a
/// `RingSetup`.
pub const RING_SETUP: HypercallNumber = HypercallNumber::core(12);
/// `RING_TEARDOWN(ring)` → 0; the host no longer touches the ring's memory.
pub const RING_TEARDOWN: HypercallNumber = HypercallNumber::core(13);

/// Every core call with its name.
pub const CORE_CALLS: [(HypercallNumber, &str); 14] = [
    (PROBE, "PROBE"),
    (FEATURES, "FEATURES"),
    (ECHO, "ECHO"),
    (CONSOLE_WRITE, "CONSOLE_WRITE"),
    (TIME, "TIME"),
    (TSC_KHZ, "TSC_KHZ"),
    (GUEST_INFO, "GUEST_INFO"),
    (STATS, "STATS"),
    (RANDOM, "RANDOM"),
    (EXIT, "EXIT"),
    (PANIC, "PANIC"),
    (BATCH, "BATCH"),
    (RING_SETUP, "RING_SETUP"),
    (RING_TEARDOWN, "RING_TEARDOWN"),
];

const _: () = assert!(CORE_LAST + 1 == USER_FIRST && USER_LAST & HYPERV_BIT == 0);
