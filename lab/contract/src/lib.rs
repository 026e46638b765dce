// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lab's test calls: registered by the suites that play the host, made by the suites
//! and unikernels that play the guest.
#![no_std]
#![forbid(unsafe_code)]

use hcall_abi::{HypercallNumber, Transport};

/// `MIX0()` … `MIX4(a, b, c, d)` → [`mix`] of the arguments that the host received.
pub const MIX: [HypercallNumber; 5] = [
    HypercallNumber::user(0x100),
    HypercallNumber::user(0x101),
    HypercallNumber::user(0x102),
    HypercallNumber::user(0x103),
    HypercallNumber::user(0x104),
];

/// As [`MIX`], for callers in 32-bit mode: 32-bit arguments, [`mix_32`].
pub const MIX_32: [HypercallNumber; 5] = [
    HypercallNumber::user(0x130),
    HypercallNumber::user(0x131),
    HypercallNumber::user(0x132),
    HypercallNumber::user(0x133),
    HypercallNumber::user(0x134),
];

/// `COUNT(transport)` → how many calls the host has received over the transport with this
/// discriminant, this one included.
pub const COUNT: HypercallNumber = HypercallNumber::user(0x110);

/// `FAIL(errno)` → −errno.
pub const FAIL: HypercallNumber = HypercallNumber::user(0x111);

/// `FILL(byte, gpa, length)` → length; writes `byte` over the buffer.
pub const FILL: HypercallNumber = HypercallNumber::user(0x112);

/// `SUM(gpa, length)` → the sum of the buffer's bytes.
pub const SUM: HypercallNumber = HypercallNumber::user(0x113);

/// `LEVEL(a, b, c, d)` → [`level_mix`] of the caller's CPL as the handler sees it.
/// Callable by whom the VM lets.
pub const LEVEL: HypercallNumber = HypercallNumber::user(0x114);

/// As [`LEVEL`], callable from every CPL.
pub const OPEN_LEVEL: HypercallNumber = HypercallNumber::user(0x115);

/// `MIXED(arity)` → how many calls of `MIX[arity]` the host's handler has seen.
pub const MIXED: HypercallNumber = HypercallNumber::user(0x116);

/// `SLOW(milliseconds)` → 0 after as long.
pub const SLOW: HypercallNumber = HypercallNumber::user(0x117);

/// `FORBIDDEN()` → 0. What no process of a guest under attack may get through; a host that
/// watches for it counts it, and so does it with `EXIT`, `PANIC` and [`FILL`].
pub const FORBIDDEN: HypercallNumber = HypercallNumber::user(0x118);

/// `FORBIDDEN_SEEN()` → how many calls the host has counted that are forbidden. Registered by
/// hosts that watch.
pub const FORBIDDEN_SEEN: HypercallNumber = HypercallNumber::user(0x119);

/// `INVERT(gpa, length)` → length; inverts every byte of the buffer.
pub const INVERT: HypercallNumber = HypercallNumber::user(0x11a);

/// `ATTEMPT(index)` → 0 once the host's handler has tried what a confined thread must not get,
/// and has said on standard error what came of it.
pub const ATTEMPT: HypercallNumber = HypercallNumber::user(0x11b);

/// The attempt that is none: the handler never returns.
pub const HANG: u64 = u64::MAX;

/// Never registered.
pub const UNREGISTERED: HypercallNumber = HypercallNumber::user(0x1ff);

/// The first example's call: prints its three parameters and returns 0.
pub const PRINT: HypercallNumber = HypercallNumber::user(0x000);

/// A 63-bit value that depends on the arity, and on every bit and the place of every argument.
///
/// # Examples
///
/// ```
/// use hcall_lab_contract::mix;
/// assert_ne!(mix(2, [1, 2, 0, 0]), mix(2, [2, 1, 0, 0]));
/// assert_ne!(mix(2, [1, 2, 0, 0]), mix(3, [1, 2, 0, 0]));
/// ```
pub fn mix(arity: u64, arguments: [u64; 4]) -> u64 {
    let mixed = arguments
        .into_iter()
        .fold(arity.wrapping_add(1), |sum, argument| {
            (sum.rotate_left(17) ^ argument).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
    (mixed ^ (mixed >> 32)) & (u64::MAX >> 1)
}

/// [`mix`] in the 31 bits that a caller in 32-bit mode can be answered with.
pub fn mix_32(arity: u64, arguments: [u64; 4]) -> u64 {
    mix(arity, arguments) & u64::from(u32::MAX >> 1)
}

/// [`mix`] of four arguments, with `cpl` in its low two bits.
pub fn level_mix(cpl: u8, arguments: [u64; 4]) -> u64 {
    (mix(4, arguments) & !3) | u64::from(cpl & 3)
}

/// `CONCURRENT(vcpu, counter)` → [`concurrent_answer`] by whichever of the two handlers the
/// host has there at the moment.
pub const CONCURRENT: HypercallNumber = HypercallNumber::user(0x120);

/// What handler `which` (0 or 1) answers vCPU `vcpu` to its call `counter`: no two of them
/// have an answer in common, but by an accident of 1 in 2^62.
pub fn concurrent_answer(which: u64, vcpu: u64, counter: u64) -> u64 {
    mix(4, [which, vcpu, counter, 0])
}

/// `SWAPPED(counter)` → what the handler answers that is there at the moment. The unikernel
/// `swapped` makes it again and again, and at the end prints a line for each answer that it
/// had: `ANSWER COUNT`, where ANSWER is a value below [`SWAPPED_VALUES`], `others`, or the name
/// of an errno.
pub const SWAPPED: HypercallNumber = HypercallNumber::user(0x121);

/// The answers to [`SWAPPED`] that are counted each for itself: 0 to 9.
pub const SWAPPED_VALUES: usize = 10;

/// What the unikernel `swapped` prints before its first call.
pub const SWAPPED_BEGINS: &str = "calling";

/// `SHOUT(gpa, length)` → how many letters have become capitals: the example of a handler's
/// process, which the unikernel `shout` asks.
pub const SHOUT: HypercallNumber = HypercallNumber::user(0x122);

/// The longest text of [`SHOUT`].
pub const SHOUT_MOST: usize = 4096;

/// `COMPARE(gva)` → 1 if the address leads somewhere, 0 if not: by KVM's translation as by the
/// host's own walk of the page tables, or else −EBADMSG.
pub const COMPARE: HypercallNumber = HypercallNumber::user(0x140);

/// `COPY_VIRTUAL(to, from, length)` → length, with the rights of the caller. Callable from
/// every CPL.
pub const COPY_VIRTUAL: HypercallNumber = HypercallNumber::user(0x141);

/// `INJECT(vcpu, vector)` → 0.
pub const INJECT: HypercallNumber = HypercallNumber::user(0x142);

/// `LATER(milliseconds, value)` → value, given by another thread after as long.
pub const LATER: HypercallNumber = HypercallNumber::user(0x143);

/// `DROPPED(milliseconds)` → −EIO: the thread that is to answer drops the call after as long.
pub const DROPPED: HypercallNumber = HypercallNumber::user(0x144);

/// `NEVER()` has no answer.
pub const NEVER: HypercallNumber = HypercallNumber::user(0x145);

/// `UNENTERABLE()` gives the vCPU a state that no processor enters.
pub const UNENTERABLE: HypercallNumber = HypercallNumber::user(0x146);

/// `SPECIAL(gpa)` → the length of the special registers that are put there, as
/// `hcall_plugin.h` has them.
pub const SPECIAL: HypercallNumber = HypercallNumber::user(0x147);

/// `SET_SPECIAL(cr2, efer)` → 0; efer stays if 0 is given.
pub const SET_SPECIAL: HypercallNumber = HypercallNumber::user(0x148);

/// How many calls of [`LATER`] the unikernel `deferred` makes, and how long each takes.
pub const DEFERRED_CALLS: u64 = 20;
/// In milliseconds.
pub const DEFERRED_FOR: u64 = 5;

/// How many interrupts the unikernel `interrupts` has itself given.
pub const INJECTED: u64 = 200;

/// Exit status of the unikernels `concurrent` and `bench` where the other CPUs do not start.
pub const NO_OTHER_CPUS: u8 = 77;

/// How many calls of each arity the unikernel `arity` makes.
pub const ARITY_CALLS: u64 = 2000;

/// How many calls of each arity the unikernel `batches` makes in batches.
pub const BATCHED_CALLS: u64 = 500;

/// Calls of the batch whose cost is measured, and how often it is.
pub const BATCH_SIZE: usize = 64;
/// Rounds of the measurement, of whose costs the median is taken.
pub const BATCH_ROUNDS: usize = 21;

/// How many times cheaper a call in that batch must be than one alone. In the emulated
/// machines KVM takes a lone call by the carrier with half the work of the others, so that
/// there is less to gain.
pub fn batch_gain(transport: Transport) -> f64 {
    match transport {
        Transport::Carrier => 20.0,
        _ => 30.0,
    }
}

/// How many calls of `MIX[4]` device-suite makes on each processor of a guest with several.
pub const CALLS_PER_PROCESSOR: u64 = 1000;

/// The argument sets that guest and host expect of each other: the same for the same seed,
/// all 64 bits of each argument in use (splitmix64).
#[derive(Clone, Debug)]
pub struct ArgumentSequence {
    state: u64,
}

impl ArgumentSequence {
    /// The sequence of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next arguments of a call with `arity` of them; the others are zero.
    pub fn next_arguments(&mut self, arity: usize) -> [u64; 4] {
        let mut arguments = [0; 4];
        for argument in arguments.iter_mut().take(arity) {
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *argument = mixed ^ (mixed >> 31);
        }
        arguments
    }
    /// The lower halves of [`next_arguments`](Self::next_arguments).
    pub fn next_arguments_32(&mut self, arity: usize) -> [u64; 4] {
        self.next_arguments(arity)
            .map(|argument| argument & u64::from(u32::MAX))
    }
}

/// `RING_IDLE()` → nanoseconds that the thread of the VM's one ring ran in
/// [`RING_IDLE_MILLISECONDS`], which begin 10 ms after the call.
pub const RING_IDLE: HypercallNumber = HypercallNumber::user(0x160);

/// How long the host looks at an idle ring.
pub const RING_IDLE_MILLISECONDS: u64 = 50;

/// Entries of the ring that the unikernel `ring` measures.
pub const RING_ENTRIES: u32 = 1024;
