// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests as a hostile process would make them: mostly nearly right, since what is wholly
//! wrong is refused at the first look.

use super::arena::{Arena, BYTES};
use super::random::Random;
use crate::memory::PAGE;
use hcall_guest::abi::batch::BatchEntry;
use hcall_guest::abi::ioctl::{
    BATCH, BUFFER_IN, BUFFER_MAX, BUFFER_OUT, CALL, CALL_BUFFER, INFO, RESTRICT, RING_KICK,
    RING_SETUP, RING_WAIT,
};
use hcall_guest::abi::number::{
    self, CONSOLE_WRITE, CORE_CALLS, ECHO, GUEST_INFO, RANDOM, STATS, TIME, TSC_KHZ,
};
use hcall_guest::HypercallNumber;
use hcall_lab_contract::{FAIL, FILL, FORBIDDEN, MIX, SUM, UNREGISTERED};

const ENTRY: usize = size_of::<BatchEntry>();

/// Every request there is, how often of ten thousand, and the bytes of its structure.
const REQUESTS: [(u32, usize, usize); 8] = [
    (INFO, 600, 64),
    (CALL, 3400, 48),
    (CALL_BUFFER, 2900, 64),
    (BATCH, 2300, 24),
    (RESTRICT, 250, 136),
    (RING_SETUP, 100, 32),
    (RING_KICK, 100, 0),
    (RING_WAIT, 350, 16),
];

/// Numbers that a process must never get through to the host.
const NEVER: [u32; 14] = [
    0,
    1,
    5,
    9,
    10,
    12,
    15,
    17,
    24,
    32,
    number::HYPERV_BIT,
    number::HYPERV_BIT | MIX[0].get(),
    u32::MAX,
    FILL.get(),
];

/// Numbers that it may call, with any arguments.
const ALLOWED: [HypercallNumber; 9] = [
    MIX[0],
    MIX[1],
    MIX[2],
    MIX[3],
    MIX[4],
    ECHO,
    TSC_KHZ,
    FAIL,
    UNREGISTERED,
];

/// Addresses at which no process has memory, or that wrap around.
const NOWHERE: [u64; 9] = [
    0,
    8,
    0x0000_7fff_ffff_f000,
    0x0000_7fff_ffff_fff8,
    0x0000_8000_0000_0000,
    0xffff_8880_0000_0000,
    0xffff_ffff_8100_0000,
    u64::MAX - 7,
    u64::MAX,
];

/// Lengths at the edges.
const LENGTHS: [u32; 12] = [
    0,
    1,
    8,
    64,
    PAGE as u32 - 1,
    PAGE as u32,
    PAGE as u32 + 1,
    BUFFER_MAX - 1,
    BUFFER_MAX,
    BUFFER_MAX + 1,
    1 << 31,
    u32::MAX,
];

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) command: u32,
    pub(super) argument: usize,
}

/// Puts a request together, with what it points to in the arena.
pub(super) fn invent(random: &mut Random, arena: &Arena) -> Request {
    let (command, bytes) = a_request(random);
    let offset = place(random);
    let structure = match command {
        CALL => call(random),
        CALL_BUFFER => call_buffer(random, arena),
        BATCH => batch(random, arena),
        RESTRICT => restrict(random),
        RING_SETUP => ring_setup(random),
        RING_WAIT => ring_wait(random),
        _ => Vec::new(),
    };
    let structure = mutated(random, structure);
    arena.write(offset, &structure);
    let argument = match command {
        RING_KICK if !random.happens(500) => 0,
        _ if random.happens(700) => nowhere(random) as usize,
        // Its end where the arena's is, or just behind.
        _ if random.happens(300) => arena.address(BYTES) - bytes + random.below(9),
        _ => arena.address(offset),
    };
    Request {
        command: altered(random, command),
        argument,
    }
}

fn a_request(random: &mut Random) -> (u32, usize) {
    let mut choice = random.below(10_000);
    for (command, times, bytes) in REQUESTS {
        if choice < times {
            return (command, bytes);
        }
        choice -= times;
    }
    (CALL, 48)
}

/// The command, or one that differs in size, direction, sequence or all over.
fn altered(random: &mut Random, command: u32) -> u32 {
    match random.below(40) {
        0 => command ^ (1 << (16 + random.below(14))),
        1 => command ^ (1 << (30 + random.below(2))),
        2 => command ^ (1 << random.below(16)),
        3 => random.next() as u32,
        _ => command,
    }
}

/// Somewhere in the arena, where words are.
fn place(random: &mut Random) -> usize {
    let offset = match random.below(4) {
        // The last words of a page.
        0 => (random.below(BYTES / PAGE) + 1) * PAGE - 8 * (1 + random.below(32)),
        _ => random.below(BYTES / 8) * 8,
    };
    offset.min(BYTES - 8)
}

fn nowhere(random: &mut Random) -> u64 {
    match random.below(4) {
        0 => random.next(),
        _ => random.one_of(&NOWHERE),
    }
}

/// A few bits of it flipped, sometimes.
fn mutated(random: &mut Random, mut structure: Vec<u8>) -> Vec<u8> {
    if !structure.is_empty() && random.happens(1500) {
        for _ in 0..=random.below(3) {
            let place = random.below(structure.len());
            structure[place] ^= 1 << random.below(8);
        }
    }
    structure
}

/// A number that may be called one time in `rarity`.
fn any_number(random: &mut Random, rarity: usize) -> u32 {
    if random.below(rarity) == 0 {
        return random.one_of(&ALLOWED).get();
    }
    match random.below(5) {
        0 => random.one_of(&NEVER),
        1 => random.one_of(&CORE_CALLS.map(|(number, _)| number.get())),
        2 => random.one_of(&[number::EXIT.get(), number::PANIC.get()]),
        3 => FORBIDDEN.get(),
        _ => random.next() as u32,
    }
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Two halves of a word.
fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | (u64::from(high) << u32::BITS)
}

fn call(random: &mut Random) -> Vec<u8> {
    let number = any_number(random, 12);
    let [a, b, c, d] = [(); 4].map(|()| random.next());
    words(&[pair(number, 0), a, b, c, d, 0])
}

fn call_buffer(random: &mut Random, arena: &Arena) -> Vec<u8> {
    // What a buffer of the kernel's own may be passed to, or any other.
    let (number, gpa_index) = match random.below(12) {
        0 => (RANDOM.get(), 0),
        1 => {
            let number = random.one_of(&[CONSOLE_WRITE, GUEST_INFO, STATS, SUM]);
            (number.get(), 0)
        }
        2 => (TIME.get(), 1),
        _ => (any_number(random, 30), random.below(4) as u32),
    };
    let flags = match random.below(16) {
        0 => random.next() as u32,
        1 => 0,
        _ => random.one_of(&[BUFFER_IN, BUFFER_OUT, BUFFER_IN | BUFFER_OUT]),
    };
    let mut arguments = [0; 4];
    if random.happens(1000) {
        arguments[random.below(4)] = random.next();
    }
    let buffer = if random.happens(1500) {
        nowhere(random)
    } else {
        arena.address(random.below(BYTES)) as u64
    };
    let length = if random.happens(1000) {
        random.next() as u32
    } else {
        random.one_of(&LENGTHS)
    };
    let [a, b, c, d] = arguments;
    words(&[
        pair(number, flags),
        a,
        b,
        c,
        d,
        0,
        buffer,
        pair(length, gpa_index),
    ])
}

fn batch(random: &mut Random, arena: &Arena) -> Vec<u8> {
    let is_good = random.below(12) == 0;
    let count = match random.below(16) {
        0 => 256,
        1 => random.one_of(&[257, 1 << 16, 1 << 26, u32::MAX]),
        _ => random.below(12) as u32,
    };
    let offset = place(random);
    for index in 0..(count as usize).min(12) {
        let number = any_number(random, if is_good { 1 } else { 2 });
        let [a, b, c, d] = [(); 4].map(|()| random.next());
        let entry = words(&[pair(number, 0), a, b, c, d, 0, 0, 0]);
        let entry = if is_good {
            entry
        } else {
            mutated(random, entry)
        };
        arena.write(offset + index * ENTRY, &entry);
    }
    let entries = if random.happens(500) {
        nowhere(random)
    } else {
        arena.address(offset) as u64
    };
    let flags = random.one_of(&[0, 0, 0, 1, 1, 2, u32::MAX]);
    words(&[entries, pair(count, flags), 0])
}

/// Few succeed: after one its file is good for little, and the kernel waits for its readers.
fn restrict(random: &mut Random) -> Vec<u8> {
    let mut structure = vec![0; 17];
    let count = random.one_of(&[1, 2, 16, 17, u32::MAX]);
    structure[0] = pair(count, 0);
    for range in structure[1..].iter_mut().take(count as usize) {
        let first = any_number(random, 2);
        *range = pair(first, first.saturating_add(random.below(1 << 20) as u32));
    }
    if !random.happens(300) {
        structure[1] = pair(FORBIDDEN.get(), FORBIDDEN.get());
    }
    if random.happens(100) {
        // What the files of these processes may call at most, but for its end.
        structure = vec![0; 17];
        structure[0] = pair(1, 0);
        structure[1] = pair(0x4843_0000, FILL.get() - 1);
    }
    words(&structure)
}

fn ring_setup(random: &mut Random) -> Vec<u8> {
    let entries = random.one_of(&[0, 1, 3, 63, 64, 64, 1024, 1 << 20, 1 << 31, u32::MAX]);
    words(&[pair(entries, 0), 0, 0, 0])
}

/// Waits end by a signal if they do not by time.
fn ring_wait(random: &mut Random) -> Vec<u8> {
    let timeout = random.one_of(&[0, 1, 1000, 100_000, u64::MAX]);
    words(&[random.below(3) as u64, timeout])
}
