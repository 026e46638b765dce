// SPDX-License-Identifier: MIT OR Apache-2.0
//! Test calls whose handlers use all that a handler may ask for: page tables, memory by
//! guest-virtual address, interrupts, answers that come later, registers.

use crate::handlers::{lock, Record};
use hcall_abi::Errno;
use hcall_lab_contract::{COMPARE, COPY_VIRTUAL, DROPPED, INJECT, LATER, NEVER, UNENTERABLE};
use hcall_vmm::hypercall::HypercallResult;
use hcall_vmm::interrupts::InterruptVector;
use hcall_vmm::{Callers, Hypercall, HypercallTable, TableError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Longest copy of `COPY_VIRTUAL`, in bytes.
const COPY_LIMIT: u64 = 1 << 16;

/// Longest wait of `LATER` and `DROPPED`, in milliseconds.
const LATEST: u64 = 60_000;

/// Registers them.
pub(crate) fn register(table: &HypercallTable, record: &Arc<Record>) -> Result<(), TableError> {
    let record = Arc::clone(record);
    table.register(COMPARE, move |call| compare(call, &record))?;
    table.register_for(Callers::AnyPrivilegeLevel, COPY_VIRTUAL, copy_virtual)?;
    table.register(INJECT, inject)?;
    table.register(LATER, |call| {
        let [milliseconds, value, ..] = call.args();
        let wait = checked_wait(milliseconds)?;
        let deferred = call.defer()?;
        thread::spawn(move || {
            thread::sleep(wait);
            deferred.answer(Ok(value));
        });
        Ok(0)
    })?;
    table.register(DROPPED, |call| {
        let wait = checked_wait(call.arg::<0>())?;
        let deferred = call.defer()?;
        thread::spawn(move || {
            thread::sleep(wait);
            drop(deferred);
        });
        Ok(0)
    })?;
    let kept = Mutex::new(Vec::new());
    table.register(NEVER, move |call| {
        lock(&kept).push(call.defer()?);
        Ok(0)
    })?;
    table.register(UNENTERABLE, |call| {
        let mut registers = call.special_registers()?;
        // Code of 64 bits and of 32 at once.
        registers.cs.l = 1;
        registers.cs.db = 1;
        call.set_special_registers(&registers)?;
        Ok(0)
    })
}

fn compare(call: &mut Hypercall<'_>, record: &Record) -> HypercallResult {
    let gva = call.arg::<0>();
    let by_kvm = call.translate(gva);
    let by_walk = call.virtual_memory()?.walk(gva);
    match (by_kvm, &by_walk) {
        (Ok(gpa), Ok(page)) if gpa == page.gpa() => Ok(1),
        (Err(Errno::EFAULT), Err(_)) => Ok(0),
        _ => {
            record.report_wrong(format!(
                "{gva:#x} leads to {by_kvm:x?} by KVM, to {by_walk:x?} by the walk"
            ));
            Err(Errno::EBADMSG)
        }
    }
}

fn copy_virtual(call: &mut Hypercall<'_>) -> HypercallResult {
    let [to, from, length, _] = call.args();
    if length > COPY_LIMIT {
        return Err(Errno::EMSGSIZE);
    }
    let mut bytes = vec![0; length as usize];
    call.read_virtual(from, &mut bytes)?;
    call.write_virtual(to, &bytes)?;
    Ok(length)
}

fn inject(call: &mut Hypercall<'_>) -> HypercallResult {
    let [vcpu, vector, ..] = call.args();
    let vcpu = u32::try_from(vcpu).map_err(|_| Errno::EINVAL)?;
    let vector = u8::try_from(vector).map_err(|_| Errno::EINVAL)?;
    let vector = InterruptVector::new(vector).ok_or(Errno::EINVAL)?;
    call.inject_interrupt(vcpu, vector)?;
    Ok(0)
}

fn checked_wait(milliseconds: u64) -> Result<Duration, Errno> {
    if milliseconds > LATEST {
        return Err(Errno::EINVAL);
    }
    Ok(Duration::from_millis(milliseconds))
}
