// SPDX-License-Identifier: MIT OR Apache-2.0
//! A host with everything registered, and what its calls may do to guest memory.

use crate::input::Input;
use crate::memory::Watched;
use hcall_abi::batch::BatchEntry;
use hcall_abi::convention::Arguments;
use hcall_abi::layout::{GuestInfo, Stats, TimeValue};
use hcall_abi::number::{BATCH, CONSOLE_WRITE, CORE_CALLS, GUEST_INFO, RANDOM, STATS, TIME};
use hcall_abi::{decode_result, CallError, Errno, Gpa, HypercallNumber, TransportSet};
use hcall_vmm::batch::BATCH_LIMIT;
use hcall_vmm::core_calls::CoreServices;
use hcall_vmm::{Callers, Hypercall, HypercallHost, HypercallResult};
use std::mem::offset_of;
use std::ops::Range;
use vm_memory::{Bytes, GuestAddress};

/// The regions of guest memory: two that touch, a hole, and one more.
const REGIONS: [(u64, usize); 3] = [(0, 0x2000), (0x2000, 0x1000), (0x1_0000, 0x1000)];

/// Addresses and lengths at which checks are decided.
pub(crate) const EDGES: [u64; 12] = [
    0,
    0x1000,
    0x2000,
    0x3000,
    0x1_0000,
    0x1_1000,
    64,
    256,
    4096,
    BATCH_LIMIT as u64,
    0x1_0000 - 64,
    0xffff_ffff,
];

/// Answers the sum of its arguments.
pub(crate) const SUM: HypercallNumber = HypercallNumber::user(1);
/// Copies the first argument's address to the second's, as many bytes as the third says.
pub(crate) const COPY: HypercallNumber = HypercallNumber::user(2);
/// Asks everything that can be asked of a call.
pub(crate) const ASK: HypercallNumber = HypercallNumber::user(3);
/// For processes too.
pub(crate) const OPEN: HypercallNumber = HypercallNumber::user(4);
/// Not of hcall's ranges.
pub(crate) const FOREIGN: u32 = 0x3000;

/// Most bytes that COPY copies.
const COPY_LIMIT: u64 = 0x2000;

/// A host and its guest's memory.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) host: HypercallHost,
    pub(crate) memory: Watched,
}

impl Machine {
    pub(crate) fn new(offered: TransportSet, callers: Callers) -> Self {
        let memory = Watched::new(&REGIONS);
        let host = HypercallHost::without_kvm(memory.memory.clone(), offered)
            .with_callers(callers)
            .with_core_calls(services());
        register(&host);
        Self { host, memory }
    }
}

pub(crate) fn services() -> CoreServices {
    CoreServices {
        console: Box::new(std::io::sink()),
        tsc_khz: Some(1_000_000),
        memory_bytes: 0x4000,
        vcpu_count: 1,
    }
}

/// Registers the calls above.
pub(crate) fn register(host: &HypercallHost) {
    let table = host.hypercalls();
    let foreign = HypercallNumber::new(FOREIGN).expect("it is nobody's");
    let sum = |call: &mut Hypercall<'_>| Ok(call.args().into_iter().fold(0, u64::wrapping_add));
    for (number, done) in [
        (SUM, table.register(SUM, sum)),
        (COPY, table.register(COPY, copy)),
        (ASK, table.register(ASK, ask)),
        (foreign, table.register(foreign, sum)),
        (
            OPEN,
            table.register_for(Callers::AnyPrivilegeLevel, OPEN, sum),
        ),
    ] {
        assert_eq!(done, Ok(()), "{number} is free");
    }
}

fn copy(call: &mut Hypercall<'_>) -> HypercallResult {
    let [from, to, length, _] = call.args();
    if length > COPY_LIMIT {
        return Err(Errno::EMSGSIZE);
    }
    let mut bytes = vec![0; length as usize];
    call.memory().read(Gpa::new(from), &mut bytes)?;
    call.memory().write(Gpa::new(to), &bytes)?;
    Ok(length)
}

fn ask(call: &mut Hypercall<'_>) -> HypercallResult {
    let level = call.cpl()?.get();
    let _ = call.mode()?;
    let registers = call.registers()?;
    call.set_registers(&registers)?;
    let translated = call.translate(call.arg::<0>())?;
    let contained = call.memory().contains(translated, call.arg::<1>() as usize);
    Ok((u64::from(level) << 1) | u64::from(contained))
}

/// A number of a call, most often one that somebody answers.
pub(crate) fn number(input: &mut Input<'_>) -> u64 {
    match input.u8() % 16 {
        0 => input.u64(),
        1 => input.u32().into(),
        2 => u64::from(input.u8() % 40),
        3 => FOREIGN.into(),
        4..=8 => u64::from(HypercallNumber::user(u16::from(input.u8() % 6)).get()),
        _ => {
            let core = CORE_CALLS.map(|(number, _)| u64::from(number.get()));
            input.choose(&core)
        }
    }
}

/// Arguments of a call.
pub(crate) fn arguments(input: &mut Input<'_>) -> Arguments {
    std::array::from_fn(|_| input.number(&EDGES))
}

/// Whether a handler may have answered so.
pub(crate) fn assert_conforming(answer: i64) {
    assert!(
        !matches!(decode_result(answer), Err(CallError::Malformed(_))),
        "{answer:#x} is no result"
    );
}

/// What a call may do to guest memory, known before it is made.
#[derive(Debug)]
pub(crate) struct Rules<'memory> {
    memory: &'memory Watched,
    number: u64,
    arguments: Arguments,
    /// No call of a batch writes to the batch itself.
    plain: bool,
}

impl<'memory> Rules<'memory> {
    /// Of the call that is about to be made.
    pub(crate) fn new(memory: &'memory Watched, number: u64, arguments: Arguments) -> Self {
        let mut rules = Self {
            memory,
            number,
            arguments,
            plain: true,
        };
        if rules.is_batch() {
            let [gpa, count, ..] = arguments;
            let all = range(gpa, count.saturating_mul(ENTRY_BYTES));
            let count = count.min(BATCH_LIMIT.into());
            let written: Vec<_> = rules
                .entries(count)
                .map(|entry| most_written(&entry))
                .collect();
            rules.plain = !written
                .into_iter()
                .flatten()
                .any(|written| overlap(&written, &all));
        }
        rules
    }

    fn is_batch(&self) -> bool {
        self.number == u64::from(BATCH.get())
    }

    /// The entries of the batch as they stand in memory now, until one is not in memory.
    fn entries(&self, count: u64) -> impl Iterator<Item = BatchEntry> + '_ {
        (0..count).map_while(|index| {
            let mut bytes = [0; size_of::<BatchEntry>()];
            let place = self.arguments[0].checked_add(index * ENTRY_BYTES)?;
            let memory = &self.memory.memory;
            memory.read_slice(&mut bytes, GuestAddress(place)).ok()?;
            Some(BatchEntry::from_bytes(&bytes))
        })
    }

    /// Asserts that the call, which was answered so, has done no more than it may, and puts
    /// memory back.
    pub(crate) fn settle(&self, answer: i64) {
        assert_conforming(answer);
        let allowed = if self.is_batch() {
            self.changes_of_batch(answer)
        } else {
            let change = changes_of_call(self.number, self.arguments, answer);
            change.into_iter().collect()
        };
        self.memory.settle(&allowed);
    }

    /// Results of the entries that were answered, and what their calls may change.
    fn changes_of_batch(&self, answer: i64) -> Vec<Range<u64>> {
        let Ok(answered) = u64::try_from(answer) else {
            // The entries were checked before the first was executed.
            return Vec::new();
        };
        let [gpa, count, ..] = self.arguments;
        assert!(
            answered <= count,
            "more entries were answered than there are"
        );
        if !self.plain {
            return vec![range(0, u64::MAX)];
        }
        let mut allowed = Vec::new();
        for (entry, place) in self
            .entries(answered)
            .zip((gpa..).step_by(ENTRY_BYTES as usize))
        {
            let result = place + offset_of!(BatchEntry, result) as u64;
            allowed.push(range(result, size_of::<i64>() as u64));
            assert_conforming(entry.result);
            let number = u64::from(entry.number);
            if number == u64::from(BATCH.get()) {
                assert_eq!(
                    entry.result,
                    -i64::from(Errno::EINVAL.get()),
                    "a batch in a batch"
                );
            }
            allowed.extend(changes_of_call(number, entry.arguments, entry.result));
        }
        allowed
    }
}

const ENTRY_BYTES: u64 = size_of::<BatchEntry>() as u64;

fn range(start: u64, length: u64) -> Range<u64> {
    start..start.saturating_add(length)
}

fn overlap(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

/// What a call that is no batch may change that was answered so.
fn changes_of_call(
    number: u64,
    [first, second, third, _]: Arguments,
    answer: i64,
) -> Option<Range<u64>> {
    let taken = u64::try_from(answer).ok()?;
    let answered = |most: usize| {
        assert!(taken <= second && taken <= most as u64, "longer than asked");
        range(first, taken)
    };
    match HypercallNumber::new(u32::try_from(number).ok()?).ok()? {
        TIME => Some(range(second, size_of::<TimeValue>() as u64)),
        GUEST_INFO => Some(answered(size_of::<GuestInfo>())),
        STATS => Some(answered(size_of::<Stats>())),
        RANDOM => Some(answered(usize::MAX)),
        COPY => Some(range(second, third)),
        CONSOLE_WRITE => {
            assert!(taken <= second, "more was written than given");
            None
        }
        _ => None,
    }
}

/// The most that the call of an entry can change.
fn most_written(entry: &BatchEntry) -> Option<Range<u64>> {
    let [first, second, third, _] = entry.arguments;
    match HypercallNumber::new(entry.number).ok()? {
        TIME => Some(range(second, size_of::<TimeValue>() as u64)),
        GUEST_INFO | STATS | RANDOM => Some(range(first, second)),
        COPY => Some(range(second, third)),
        _ => None,
    }
}
