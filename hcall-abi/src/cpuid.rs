// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! Discovery: the block of CPUID leaves by which a guest knows the host before it
//! executes anything.
//!
//! The guest looks only if CPUID leaf 1 has [`HYPERVISOR_BIT`], at the bases
//! [`FIRST_BASE`], `+0x100`, … [`LAST_BASE`], and takes the first whose ebx, ecx, edx
//! hold [`SIGNATURE`]. Bits and registers not named here are zero and reserved.
//!
//! | leaf | eax | ebx | ecx | edx |
//! |---|---|---|---|---|
//! | base + 0 | highest leaf of the block | signature 0–3 | signature 4–7 | signature 8–11 |
//! | base + 1 | ABI version | [`Features`] | 0 | 0 |
//! | base + 2 | [`TransportSet`] | preferred transport | 0 | 0 |
//! | base + 3 | largest batch, entries | largest ring, entries | largest buffer, bytes | 0 |

use super::transport::{Transport, TransportSet};
use super::version::AbiVersion;

/// The signature in ebx, ecx, edx of the block's first leaf.
pub const SIGNATURE: [u8; 12] = *b"HcallHcall\0\0";

/// The leaf whose ecx holds [`HYPERVISOR_BIT`].
pub const HYPERVISOR_LEAF: u32 = 1;
/// "Running under a hypervisor", in ecx of leaf 1.
pub const HYPERVISOR_BIT: u32 = 1 << 31;

/// The first base at which the block may stand; KVM's own block is usually here.
pub const FIRST_BASE: u32 = 0x4000_0000;
/// The last base at which the block may stand.
pub const LAST_BASE: u32 = 0x4000_ff00;
/// The distance between bases.
pub const BASE_STEP: u32 = 0x100;

/// Offset of the leaf with version and features.
pub const LEAF_VERSION: u32 = 1;
/// Offset of the leaf with the transports.
pub const LEAF_TRANSPORTS: u32 = 2;
/// Offset of the leaf with the limits; the highest leaf of the block.
pub const LEAF_LIMITS: u32 = 3;

/// The four registers that CPUID returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuidRegisters {
    /// eax
    pub eax: u32,
    /// ebx
    pub ebx: u32,
    /// ecx
    pub ecx: u32,
    /// edx
    pub edx: u32,
}

impl CpuidRegisters {
    /// The 12 bytes of ebx, ecx, edx: the order of hypervisor signatures.
    pub const fn signature(self) -> [u8; 12] {
        join(self.ebx, self.ecx, self.edx)
    }

    /// The 12 bytes of ebx, edx, ecx: the order of the processor vendor in leaf 0.
    pub const fn vendor(self) -> [u8; 12] {
        join(self.ebx, self.edx, self.ecx)
    }
}

const fn join(first: u32, second: u32, third: u32) -> [u8; 12] {
    let (a, b, c) = (
        first.to_le_bytes(),
        second.to_le_bytes(),
        third.to_le_bytes(),
    );
    [
        a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3],
    ]
}

const fn signature_word(index: usize) -> u32 {
    u32::from_le_bytes([
        SIGNATURE[index],
        SIGNATURE[index + 1],
        SIGNATURE[index + 2],
        SIGNATURE[index + 3],
    ])
}

/// Optional parts of the ABI that the host offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Features(u32);

impl Features {
    /// None.
    pub const EMPTY: Self = Self(0);
    /// The core calls PROBE … PANIC are there.
    pub const CORE_CALLS: Self = Self(1 << 0);
    /// `BATCH` is there.
    pub const BATCH: Self = Self(1 << 1);
    /// `RING_SETUP` is there.
    pub const RING: Self = Self(1 << 2);

    /// Features as read from CPUID; unknown bits are kept and ignored.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of `other` is in the set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The features of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The largest sizes that the host accepts; 0 where the part is not offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Most entries of one `BATCH`.
    pub batch_entries: u32,
    /// Most entries of one ring.
    pub ring_entries: u32,
    /// Longest (GPA, length) buffer of one call, in bytes.
    pub buffer_bytes: u32,
}

/// What a host says of itself in CPUID.
///
/// # Examples
///
/// ```
/// use hcall_abi::cpuid::{Advertisement, Features, Limits, FIRST_BASE, BASE_STEP};
/// use hcall_abi::{Transport, TransportSet, ABI_VERSION};
///
/// let host = Advertisement {
///     abi_version: ABI_VERSION,
///     features: Features::CORE_CALLS,
///     transports: TransportSet::EMPTY.with(Transport::Port),
///     preferred: Some(Transport::Port),
///     limits: Limits::default(),
/// };
/// let base = FIRST_BASE + BASE_STEP;
/// let leaves = host.leaves(base);
/// let read = Advertisement::find(|leaf| match leaf {
///     1 => hcall_abi::cpuid::CpuidRegisters { ecx: 1 << 31, ..Default::default() },
///     leaf if (base..base + 4).contains(&leaf) => leaves[(leaf - base) as usize],
///     _ => Default::default(),
/// });
/// assert_eq!(read, Some((base, host)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// Version of the ABI that the host speaks.
    pub abi_version: AbiVersion,
    /// Optional parts.
    pub features: Features,
    /// Transports the guest may use.
    pub transports: TransportSet,
    /// The transport the host would like; `None` if it named one of no known kind.
    pub preferred: Option<Transport>,
    /// Sizes.
    pub limits: Limits,
}

/// What stands in ebx of the transports' leaf when no transport is preferred.
pub const NO_TRANSPORT: u32 = u32::MAX;

impl Advertisement {
    /// The leaves of the block at `base`, in order.
    pub const fn leaves(&self, base: u32) -> [CpuidRegisters; LEAF_LIMITS as usize + 1] {
        let preferred = match self.preferred {
            Some(transport) => transport.raw(),
            None => NO_TRANSPORT,
        };
        [
            CpuidRegisters {
                eax: base + LEAF_LIMITS,
                ebx: signature_word(0),
                ecx: signature_word(4),
                edx: signature_word(8),
            },
            CpuidRegisters {
                eax: self.abi_version.get(),
                ebx: self.features.bits(),
                ecx: 0,
                edx: 0,
            },
            CpuidRegisters {
                eax: self.transports.bits(),
                ebx: preferred,
                ecx: 0,
                edx: 0,
            },
            CpuidRegisters {
                eax: self.limits.batch_entries,
                ebx: self.limits.ring_entries,
                ecx: self.limits.buffer_bytes,
                edx: 0,
            },
        ]
    }

    /// Looks for the block, given a way to execute CPUID, and reads it.
    ///
    /// Returns the base and what stands there; `None` without the hypervisor bit, the
    /// signature, or a block long enough to hold every leaf of version 1.
    pub fn find(mut cpuid: impl FnMut(u32) -> CpuidRegisters) -> Option<(u32, Self)> {
        if cpuid(HYPERVISOR_LEAF).ecx & HYPERVISOR_BIT == 0 {
            return None;
        }
        let mut base = FIRST_BASE;
        while base <= LAST_BASE {
            let first = cpuid(base);
            if first.signature() == SIGNATURE {
                if first.eax < base + LEAF_LIMITS {
                    return None;
                }
                return Some((base, Self::read(base, cpuid)));
            }
            base += BASE_STEP;
        }
        None
    }

    fn read(base: u32, mut cpuid: impl FnMut(u32) -> CpuidRegisters) -> Self {
        let version = cpuid(base + LEAF_VERSION);
        let transports = cpuid(base + LEAF_TRANSPORTS);
        let limits = cpuid(base + LEAF_LIMITS);
        Self {
            abi_version: AbiVersion::new(version.eax),
            features: Features::from_bits(version.ebx),
            transports: TransportSet::from_bits(transports.eax),
            preferred: Transport::from_raw(transports.ebx),
            limits: Limits {
                batch_entries: limits.eax,
                ring_entries: limits.ebx,
                buffer_bytes: limits.ecx,
            },
        }
    }

    /// The transport that a guest able to use `usable` takes: the preferred one if it was
    /// offered and is usable, else the first of [`Transport::ALL`] that is both; never one
    /// that was not offered.
    pub const fn select(&self, usable: TransportSet) -> Option<Transport> {
        let candidates = self.transports.intersection(usable);
        match self.preferred {
            Some(preferred) if candidates.contains(preferred) => Some(preferred),
            _ => candidates.preferred(),
        }
    }
}
