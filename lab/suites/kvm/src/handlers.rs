// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's side of the lab's test calls, with a record of what arrived.

use crate::context_handlers;
use hcall_abi::{Errno, Gpa, Transport};
use hcall_lab_contract::{
    level_mix, mix, mix_32, ArgumentSequence, COUNT, FAIL, FILL, INVERT, LEVEL, MIX, MIXED, MIX_32,
    OPEN_LEVEL, PRINT, SLOW, SUM,
};
use hcall_vmm::hypercall::HypercallResult;
use hcall_vmm::stats::Counters;
use hcall_vmm::{Callers, Hypercall, HypercallTable, Mode, TableError};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Longest buffer that `FILL` and `SUM` take, in bytes.
const BUFFER_LIMIT: u64 = 1 << 16;

/// Longest call of `SLOW`, in milliseconds.
const SLOW_LIMIT: u64 = 1000;

/// What arrived.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Calls of `MIX[arity]`.
    pub(crate) mixed: [AtomicU64; MIX.len()],
    /// Calls of `MIX_32[arity]`.
    pub(crate) mixed_32: [AtomicU64; MIX_32.len()],
    /// Of `MIX`, over which transport.
    pub(crate) mixed_over: [AtomicU64; Transport::ALL.len()],
    /// And of these, how many through rings.
    pub(crate) mixed_through_rings: AtomicU64,
    /// Of all of them, by which vCPU.
    mixed_by: Mutex<BTreeMap<u32, u64>>,
    /// The first call whose arguments were not the expected ones.
    wrong: Mutex<Option<String>>,
    /// The parameters that `PRINT` received.
    pub(crate) printed: Mutex<Vec<[u64; 3]>>,
}

impl Record {
    pub(crate) fn report_wrong(&self, text: String) {
        lock(&self.wrong).get_or_insert(text);
    }

    /// How many calls of `MIX` came from each vCPU that made any.
    pub(crate) fn mixed_by_vcpu(&self) -> BTreeMap<u32, u64> {
        lock(&self.mixed_by).clone()
    }

    /// Fails if a call came with other arguments than the guest was to make it with.
    pub(crate) fn check_arguments(&self) -> Result<(), String> {
        lock(&self.wrong).clone().map_or(Ok(()), Err)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the arguments of `MIX` are known in advance: a guest that makes its calls in
/// the order of [`ArgumentSequence`] has every one of them checked here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arguments {
    InSequence,
    Any,
}

/// Registers every test call.
pub(crate) fn register(
    table: &HypercallTable,
    counters: &Arc<Counters>,
    arguments: Arguments,
) -> Result<Arc<Record>, TableError> {
    let record = Arc::new(Record::default());
    for (arity, number) in MIX.into_iter().enumerate() {
        let record = Arc::clone(&record);
        let sequence = Mutex::new(ArgumentSequence::new(arity as u64));
        table.register(number, move |call| {
            let round = record.mixed[arity].fetch_add(1, Ordering::Relaxed);
            let origin = match call.transport() {
                Some(over) => &record.mixed_over[over.raw() as usize],
                None => &record.mixed_through_rings,
            };
            origin.fetch_add(1, Ordering::Relaxed);
            if let Some(vcpu) = call.vcpu_id() {
                *lock(&record.mixed_by).entry(vcpu).or_default() += 1;
            }
            let expected = lock(&sequence).next_arguments(arity);
            if arguments == Arguments::InSequence && call.args() != expected {
                record.report_wrong(format!(
                    "arity {arity}, round {round}: expected {expected:#x?}, got {:#x?}",
                    call.args()
                ));
            }
            Ok(mix(arity as u64, call.args()))
        })?;
    }
    register_32(table, &record)?;
    register_simple(table, counters, &record)?;
    context_handlers::register(table, &record)?;
    Ok(record)
}

/// The arguments of these are always known: only guests in 32-bit mode make these calls.
fn register_32(table: &HypercallTable, record: &Arc<Record>) -> Result<(), TableError> {
    for (arity, number) in MIX_32.into_iter().enumerate() {
        let record = Arc::clone(record);
        let sequence = Mutex::new(ArgumentSequence::new(arity as u64));
        table.register(number, move |call| {
            let round = record.mixed_32[arity].fetch_add(1, Ordering::Relaxed);
            let expected = lock(&sequence).next_arguments_32(arity);
            if call.args() != expected || call.mode()? != Mode::Bits32 {
                record.report_wrong(format!(
                    "32-bit arity {arity}, round {round}: expected {expected:#x?}, got {:#x?} \
                     in {:?}",
                    call.args(),
                    call.mode()
                ));
            }
            Ok(mix_32(arity as u64, call.args()))
        })?;
    }
    Ok(())
}

fn register_simple(
    table: &HypercallTable,
    counters: &Arc<Counters>,
    record: &Arc<Record>,
) -> Result<(), TableError> {
    let counters = Arc::clone(counters);
    table.register(COUNT, move |call| {
        let transport = u32::try_from(call.arg::<0>()).map_err(|_| Errno::EINVAL)?;
        let transport = Transport::from_raw(transport).ok_or(Errno::EINVAL)?;
        Ok(counters.calls(transport))
    })?;
    table.register(FAIL, |call| {
        let errno = u16::try_from(call.arg::<0>()).map_err(|_| Errno::EINVAL)?;
        Err(Errno::new(errno).ok_or(Errno::EINVAL)?)
    })?;
    table.register(FILL, |call| {
        let [byte, gpa, length, _] = call.args();
        let bytes = vec![byte as u8; checked_length(length)?];
        call.memory().write(Gpa::new(gpa), &bytes)?;
        Ok(length)
    })?;
    table.register(SUM, |call| {
        let [gpa, length, ..] = call.args();
        let mut bytes = vec![0; checked_length(length)?];
        call.memory().read(Gpa::new(gpa), &mut bytes)?;
        Ok(bytes.into_iter().map(u64::from).sum())
    })?;
    table.register(INVERT, |call| {
        let [gpa, length, ..] = call.args();
        let mut bytes = vec![0; checked_length(length)?];
        call.memory().read(Gpa::new(gpa), &mut bytes)?;
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
        call.memory().write(Gpa::new(gpa), &bytes)?;
        Ok(length)
    })?;
    let counted = Arc::clone(record);
    table.register(MIXED, move |call| {
        let arity = usize::try_from(call.arg::<0>()).map_err(|_| Errno::EINVAL)?;
        let count = counted.mixed.get(arity).ok_or(Errno::EINVAL)?;
        Ok(count.load(Ordering::Relaxed))
    })?;
    table.register(SLOW, |call| {
        let milliseconds = call.arg::<0>();
        if milliseconds > SLOW_LIMIT {
            return Err(Errno::EINVAL);
        }
        std::thread::sleep(Duration::from_millis(milliseconds));
        Ok(0)
    })?;
    table.register(LEVEL, answer_level)?;
    table.register_for(Callers::AnyPrivilegeLevel, OPEN_LEVEL, answer_level)?;
    let record = Arc::clone(record);
    table.register(PRINT, move |call| {
        let [a, b, c, _] = call.args();
        lock(&record.printed).push([a, b, c]);
        Ok(0)
    })
}

fn answer_level(call: &mut Hypercall<'_>) -> HypercallResult {
    Ok(level_mix(call.cpl()?.get(), call.args()))
}

fn checked_length(length: u64) -> Result<usize, Errno> {
    if length > BUFFER_LIMIT {
        return Err(Errno::EMSGSIZE);
    }
    Ok(length as usize)
}
