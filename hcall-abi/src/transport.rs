// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! How a call reaches the host. The host offers transports in CPUID, the guest uses
//! only what was offered.

/// The I/O port of [`Transport::Port`]: `out 0xe4, eax`.
///
/// An `imm8` port, because dx carries an argument; one that no PC device claims.
pub const PORT: u8 = 0xe4;

/// A way for a call to reach the host. The discriminants are those of CPUID and `INFO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum Transport {
    /// VMMCALL or VMCALL, by CPUID vendor, with the registers of
    /// [`convention`](super::convention).
    Instruction = 0,
    /// VMMCALL or VMCALL in the shape of KVM_HC_MAP_GPA_RANGE, with the registers of
    /// [`carrier`](super::carrier); from 64-bit mode only.
    Carrier = 1,
    /// `out` [`PORT`]`, eax` with the registers of [`convention`](super::convention).
    Port = 2,
}

impl Transport {
    /// Every transport, in the order in which a host prefers them.
    pub const ALL: [Self; 3] = [Self::Instruction, Self::Carrier, Self::Port];

    /// The transport of a discriminant, `None` for one that this version does not know.
    pub const fn from_raw(raw: u32) -> Option<Self> {
        match raw {
            0 => Some(Self::Instruction),
            1 => Some(Self::Carrier),
            2 => Some(Self::Port),
            _ => None,
        }
    }

    /// The discriminant.
    pub const fn raw(self) -> u32 {
        self as u32
    }

    /// The name in lower case, as commands take and print it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Instruction => "instruction",
            Self::Carrier => "carrier",
            Self::Port => "port",
        }
    }
}

impl core::fmt::Display for Transport {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.pad(self.name())
    }
}

/// A set of transports: bit *n* stands for the transport with discriminant *n*.
///
/// # Examples
///
/// ```
/// use hcall_abi::{Transport, TransportSet};
/// let offered = TransportSet::EMPTY.with(Transport::Port).with(Transport::Instruction);
/// assert!(offered.contains(Transport::Port));
/// assert_eq!(offered.bits(), 0b101);
/// assert_eq!(offered.preferred(), Some(Transport::Instruction));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct TransportSet(u32);

impl TransportSet {
    /// No transport.
    pub const EMPTY: Self = Self(0);

    /// A set as read from CPUID; bits of unknown transports are kept and ignored.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits, as CPUID and `INFO` carry them.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// This set and `transport`.
    #[must_use]
    pub const fn with(self, transport: Transport) -> Self {
        Self(self.0 | (1 << transport.raw()))
    }

    /// What is in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether `transport` is in the set.
    pub const fn contains(self, transport: Transport) -> bool {
        self.0 & (1 << transport.raw()) != 0
    }

    /// Whether the set holds no transport that this version knows.
    pub const fn is_empty(self) -> bool {
        self.preferred().is_none()
    }

    /// The first of [`Transport::ALL`] in the set.
    pub const fn preferred(self) -> Option<Transport> {
        let mut index = 0;
        while index < Transport::ALL.len() {
            if self.contains(Transport::ALL[index]) {
                return Some(Transport::ALL[index]);
            }
            index += 1;
        }
        None
    }

    /// The known transports in the set, in order of preference.
    pub fn iter(self) -> impl Iterator<Item = Transport> {
        Transport::ALL
            .into_iter()
            .filter(move |transport| self.contains(*transport))
    }
}
