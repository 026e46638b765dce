// SPDX-License-Identifier: MIT OR Apache-2.0
//! Batches: against the same calls made one by one, against memory that changes while it is
//! read, and at every limit.

use crate::core_calls::{core_host, Sink};
use crate::fake_vcpu::{call, host, FakeVcpu, MEMORY_SIZE, OFFERED};
use hcall_abi::batch::{BatchEntry, ENTRY_ALIGNMENT, STOP_ON_ERROR};
use hcall_abi::convention::Arguments;
use hcall_abi::number::{BATCH, ECHO, EXIT, PROBE, RING_SETUP};
use hcall_abi::result::KVM_ENOSYS_RESULT;
use hcall_abi::version::PROBE_RESULT;
use hcall_abi::{Errno, Gpa, HypercallNumber, Transport};
use hcall_vmm::batch::BATCH_LIMIT;
use hcall_vmm::core_calls::CoreServices;
use hcall_vmm::memory::{CopyGuestMemory, OutsideMemory};
use hcall_vmm::{Callers, Disposition, HypercallHost, StopReason};
use proptest::prelude::*;
use std::mem::offset_of;
use std::sync::{Arc, Mutex};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const SUM: HypercallNumber = HypercallNumber::user(1);
const FAIL: HypercallNumber = HypercallNumber::user(2);
const PANICS: HypercallNumber = HypercallNumber::user(3);
const UNKNOWN: HypercallNumber = HypercallNumber::user(4);

const ENTRY_BYTES: usize = size_of::<BatchEntry>();
/// Where the tests put their entries.
const GPA: u64 = 0x100;
/// What stands in results before.
const UNTOUCHED: i64 = 0x5a5a;

fn errno(errno: Errno) -> i64 {
    -i64::from(errno.get())
}

fn entry(number: HypercallNumber, arguments: Arguments) -> BatchEntry {
    BatchEntry {
        result: UNTOUCHED,
        ..BatchEntry::new(number, arguments)
    }
}

/// A host with core calls and the handlers above.
fn batch_host() -> (HypercallHost, GuestMemoryMmap) {
    let (host, memory) = core_host(Sink::default());
    register(&host);
    (host, memory)
}

fn register(host: &HypercallHost) {
    let table = host.hypercalls();
    table
        .register(SUM, |call| {
            Ok(call.args().into_iter().fold(0, u64::wrapping_add))
        })
        .unwrap();
    table.register(FAIL, |_| Err(Errno::ENXIO)).unwrap();
    table.register(PANICS, |_| panic!("on purpose")).unwrap();
}

fn put(memory: &GuestMemoryMmap, entries: &[BatchEntry]) {
    for (index, entry) in entries.iter().enumerate() {
        let place = GuestAddress(GPA + (index * ENTRY_BYTES) as u64);
        memory.write_slice(&entry.to_bytes(), place).unwrap();
    }
}

fn get(memory: &GuestMemoryMmap, count: usize) -> Vec<BatchEntry> {
    (0..count)
        .map(|index| {
            let mut bytes = [0; ENTRY_BYTES];
            let place = GuestAddress(GPA + (index * ENTRY_BYTES) as u64);
            memory.read_slice(&mut bytes, place).unwrap();
            BatchEntry::from_bytes(&bytes)
        })
        .collect()
}

/// Makes the batch; returns its result and the results of its entries.
fn run(
    host: &HypercallHost,
    memory: &GuestMemoryMmap,
    entries: &[BatchEntry],
    flags: u64,
) -> (i64, Vec<i64>) {
    put(memory, entries);
    let answer = call(host, BATCH.get(), [GPA, entries.len() as u64, flags, 0]);
    let after = get(memory, entries.len());
    for (before, after) in entries.iter().zip(&after) {
        let result = after.result;
        assert_eq!(*after, BatchEntry { result, ..*before });
    }
    (answer, after.iter().map(|entry| entry.result).collect())
}

#[test]
fn entries_are_answered_in_order_over_every_transport() {
    let (host, memory) = batch_host();
    let entries = [
        entry(PROBE, [0; 4]),
        entry(SUM, [1, 20, 300, 4000]),
        entry(FAIL, [0; 4]),
        entry(PANICS, [0; 4]),
        entry(UNKNOWN, [0; 4]),
        entry(ECHO, [7, 0, 0, 0]),
    ];
    let expected = [
        PROBE_RESULT as i64,
        4321,
        errno(Errno::ENXIO),
        errno(Errno::EIO),
        errno(Errno::ENOSYS),
        7,
    ];
    for transport in Transport::ALL {
        put(&memory, &entries);
        let mut vcpu = FakeVcpu::new();
        let arguments = [GPA, entries.len() as u64, 0, 0];
        match transport {
            Transport::Instruction => vcpu.trap(BATCH.get().into(), arguments),
            Transport::Carrier => vcpu.carry(BATCH.get(), arguments),
            _ => vcpu.out(BATCH.get().into(), arguments),
        }
        assert_eq!(host.dispatch(&mut vcpu, 0, transport), Disposition::Resume);
        assert_eq!(vcpu.answer(), entries.len() as i64);
        let results: Vec<i64> = get(&memory, entries.len())
            .iter()
            .map(|entry| entry.result)
            .collect();
        assert_eq!(results, expected);
        assert_eq!(host.counters().calls(transport), 1 + entries.len() as u64);
    }
    let stats = host.counters().read();
    assert_eq!((stats.failed, stats.panicked, stats.unknown), (3, 3, 3));
}

#[test]
fn numbers_that_never_reach_a_vmm_are_answered_as_alone() {
    let (host, memory) = batch_host();
    for (number, expected) in [
        (0, KVM_ENOSYS_RESULT),
        (12, KVM_ENOSYS_RESULT),
        (17, errno(Errno::ENOSYS)),
        (1 << 31, errno(Errno::ENOSYS)),
    ] {
        let raw = BatchEntry {
            number,
            ..entry(PROBE, [0; 4])
        };
        assert_eq!(run(&host, &memory, &[raw], 0), (1, vec![expected]));
        assert_eq!(call(&host, number, [0; 4]), expected);
    }
}

#[test]
fn batches_in_batches_and_reserved_bits_are_refused_by_entry() {
    let (host, memory) = batch_host();
    let good = entry(ECHO, [1, 0, 0, 0]);
    let bad = [
        entry(BATCH, [GPA, 1, 0, 0]),
        entry(RING_SETUP, [0; 4]),
        BatchEntry { flags: 1, ..good },
        BatchEntry {
            flags: 1 << 31,
            ..good
        },
        BatchEntry {
            reserved: [1, 0],
            ..good
        },
        BatchEntry {
            reserved: [0, 1 << 63],
            ..good
        },
    ];
    for bad in bad {
        let (answer, results) = run(&host, &memory, &[good, bad, good], 0);
        assert_eq!((answer, results), (3, vec![1, errno(Errno::EINVAL), 1]));
        let (answer, results) = run(&host, &memory, &[good, bad, good], STOP_ON_ERROR);
        assert_eq!(
            (answer, results),
            (2, vec![1, errno(Errno::EINVAL), UNTOUCHED])
        );
    }
}

#[test]
fn arguments_are_checked_in_the_documented_order() {
    let (host, memory) = batch_host();
    put(&memory, &[entry(ECHO, [1, 0, 0, 0])]);
    let end = MEMORY_SIZE as u64;
    let limit = u64::from(BATCH_LIMIT);
    let whole = end / ENTRY_BYTES as u64;
    assert_eq!(
        whole, limit,
        "the largest batch fills the memory of the tests"
    );
    for (arguments, expected) in [
        ([GPA, 1, 0, 0], 1),
        ([GPA, 1, STOP_ON_ERROR, 0], 1),
        // The fourth argument is not looked at.
        ([GPA, 1, 0, u64::MAX], 1),
        ([u64::MAX, 0, 0, 0], 0),
        ([u64::MAX, 0, 2, 0], errno(Errno::EINVAL)),
        ([GPA, 1, 2, 0], errno(Errno::EINVAL)),
        ([GPA, 1, 1 << 63, 0], errno(Errno::EINVAL)),
        ([u64::MAX, limit + 1, 0, 0], errno(Errno::E2BIG)),
        ([GPA, 1 << 32, 0, 0], errno(Errno::E2BIG)),
        ([GPA, u64::MAX, 0, 0], errno(Errno::E2BIG)),
        ([u64::MAX, 1, 0, 0], errno(Errno::EINVAL)),
        ([GPA + ENTRY_ALIGNMENT / 2, 1, 0, 0], errno(Errno::EINVAL)),
        ([end, 1, 0, 0], errno(Errno::EFAULT)),
        ([end - 56, 1, 0, 0], errno(Errno::EFAULT)),
        ([end - 64, 2, 0, 0], errno(Errno::EFAULT)),
        ([8, whole, 0, 0], errno(Errno::EFAULT)),
        ([u64::MAX - 7, 1, 0, 0], errno(Errno::EFAULT)),
        ([u64::MAX - 63, 2, 0, 0], errno(Errno::EFAULT)),
        ([1 << 40, 1, 0, 0], errno(Errno::EFAULT)),
        ([end - 64, 1, 0, 0], 1),
        ([0, limit, 0, 0], limit as i64),
    ] {
        let answer = call(&host, BATCH.get(), arguments);
        assert_eq!(answer, expected, "{arguments:x?}");
    }
}

#[test]
fn entry_that_ends_the_vm_ends_the_batch() {
    let (host, memory) = batch_host();
    put(
        &memory,
        &[
            // A refused EXIT ends nothing.
            entry(EXIT, [256, 0, 0, 0]),
            entry(EXIT, [3, 0, 0, 0]),
            entry(ECHO, [1, 0, 0, 0]),
        ],
    );
    let mut vcpu = FakeVcpu::new();
    vcpu.trap(BATCH.get().into(), [GPA, 3, 0, 0]);
    assert_eq!(
        host.dispatch(&mut vcpu, 0, Transport::Instruction),
        Disposition::Stop(StopReason::Exit(3))
    );
    assert_eq!(vcpu.answer(), 2);
    let results: Vec<i64> = get(&memory, 3).iter().map(|entry| entry.result).collect();
    assert_eq!(results, [errno(Errno::EINVAL), 0, UNTOUCHED]);
}

#[test]
fn entries_have_the_privilege_of_the_batch() {
    const CLOSED: HypercallNumber = HypercallNumber::user(9);
    const LEVEL: HypercallNumber = HypercallNumber::user(10);
    let answers = |callers| {
        let (host, memory) = batch_host();
        let host = host.with_callers(callers);
        let table = host.hypercalls();
        table
            .register_for(Callers::KernelOnly, CLOSED, |_| Ok(1))
            .unwrap();
        table
            .register(LEVEL, |call| Ok(call.cpl()?.get().into()))
            .unwrap();
        put(&memory, &[entry(CLOSED, [0; 4]), entry(LEVEL, [0; 4])]);
        let mut vcpu = FakeVcpu::new();
        vcpu.cpl = 3;
        vcpu.trap(BATCH.get().into(), [GPA, 2, 0, 0]);
        assert_eq!(
            host.dispatch(&mut vcpu, 0, Transport::Instruction),
            Disposition::Resume
        );
        let entries = get(&memory, 2);
        (vcpu.answer(), entries[0].result, entries[1].result)
    };
    let refused = errno(Errno::EPERM);
    assert_eq!(
        answers(Callers::KernelOnly),
        (refused, UNTOUCHED, UNTOUCHED)
    );
    assert_eq!(answers(Callers::AnyPrivilegeLevel), (2, refused, 3));
}

#[test]
fn batch_is_answered_by_the_handlers_it_found() {
    const REMOVES: HypercallNumber = HypercallNumber::user(11);
    let (host, memory) = batch_host();
    let host = Arc::new(host);
    let table = Arc::downgrade(&host);
    host.hypercalls()
        .register(REMOVES, move |_| {
            let host = table.upgrade().expect("the test holds the host");
            host.hypercalls().remove(SUM).map_err(|_| Errno::ENOENT)?;
            Ok(0)
        })
        .unwrap();
    let entries = [entry(REMOVES, [0; 4]), entry(SUM, [1, 1, 0, 0])];
    assert_eq!(run(&host, &memory, &entries, 0), (2, vec![0, 2]));
    let (_, results) = run(&host, &memory, &entries, 0);
    assert_eq!(results, [errno(Errno::ENOENT), errno(Errno::ENOSYS)]);
}

#[test]
fn host_without_core_calls_has_no_batch() {
    let (host, _memory) = host();
    let advertisement = host.advertisement();
    assert_eq!(advertisement.limits.batch_entries, 0);
    assert_eq!(
        call(&host, BATCH.get(), [GPA, 1, 0, 0]),
        errno(Errno::ENOSYS)
    );
}

/// Memory of a guest that rewrites all of it with every access, and that keeps what was
/// accessed.
#[derive(Clone, Default)]
struct Treacherous(Arc<Mutex<Accesses>>);

#[derive(Default)]
struct Accesses {
    reads: Vec<(u64, usize)>,
    writes: Vec<(u64, Vec<u8>)>,
}

impl CopyGuestMemory for Treacherous {
    fn read(&self, gpa: Gpa, bytes: &mut [u8]) -> Result<(), OutsideMemory> {
        let mut accesses = self.0.lock().unwrap();
        let generation = accesses.reads.len() as u64;
        accesses.reads.push((gpa.get(), bytes.len()));
        for place in bytes.chunks_exact_mut(ENTRY_BYTES) {
            let entry = BatchEntry::new(ECHO, [generation, 0, 0, 0]);
            place.copy_from_slice(&entry.to_bytes());
        }
        Ok(())
    }

    fn write(&self, gpa: Gpa, bytes: &[u8]) -> Result<(), OutsideMemory> {
        let mut accesses = self.0.lock().unwrap();
        accesses.writes.push((gpa.get(), bytes.to_vec()));
        Ok(())
    }

    fn contains(&self, _: Gpa, _: usize) -> bool {
        true
    }
}

#[test]
fn nothing_is_read_twice_and_only_results_are_written() {
    let memory = Treacherous::default();
    let services = CoreServices {
        console: Box::new(std::io::sink()),
        tsc_khz: None,
        memory_bytes: 0,
        vcpu_count: 1,
    };
    let host = HypercallHost::without_kvm(memory.clone(), OFFERED).with_core_calls(services);
    let count = u64::from(BATCH_LIMIT) - 3;
    assert_eq!(call(&host, BATCH.get(), [GPA, count, 0, 0]), count as i64);

    let accesses = memory.0.lock().unwrap();
    let mut next = GPA;
    for (gpa, length) in &accesses.reads {
        assert_eq!(*gpa, next, "each byte once, in order");
        next += *length as u64;
    }
    assert_eq!(next, GPA + count * ENTRY_BYTES as u64);
    assert_eq!(accesses.writes.len() as u64, count);
    for (index, (gpa, bytes)) in (0..).zip(&accesses.writes) {
        let offset = offset_of!(BatchEntry, result) as u64;
        assert_eq!(*gpa, GPA + index * ENTRY_BYTES as u64 + offset);
        assert_eq!(bytes.len(), size_of::<i64>());
    }
}

fn any_entry() -> impl Strategy<Value = BatchEntry> {
    let number = prop_oneof![
        4 => Just(ECHO.get()),
        2 => Just(SUM.get()),
        1 => Just(FAIL.get()),
        1 => Just(UNKNOWN.get()),
        1 => 0u32..40,
        1 => any::<u32>(),
    ];
    (number, any::<Arguments>()).prop_map(|(number, arguments)| BatchEntry {
        number,
        arguments,
        result: UNTOUCHED,
        ..BatchEntry::default()
    })
}

proptest! {
    /// A batch has the results, and the counts, of the same calls made one by one.
    #[test]
    fn batch_is_its_calls(
        entries in proptest::collection::vec(any_entry(), 0..80),
        stops: bool,
    ) {
        let (flags, stops_at) = if stops { (STOP_ON_ERROR, 0) } else { (0, i64::MIN) };
        // Without core calls, so that no entry has a contract about memory.
        let reference = batch_free_host();
        let mut expected = Vec::new();
        for entry in &entries {
            let result = call(&reference, entry.number, entry.arguments);
            expected.push(result);
            if result < stops_at {
                break;
            }
        }
        let (answered, rest) = (expected.len(), entries.len() - expected.len());
        expected.extend(std::iter::repeat_n(UNTOUCHED, rest));

        let (host, memory) = batch_host();
        prop_assume!(entries.iter().all(|entry| !is_other_core_call(entry.number)));
        let (answer, results) = run(&host, &memory, &entries, flags);
        prop_assert_eq!(answer, answered as i64);
        prop_assert_eq!(results, expected);
        let (stats, alone) = (host.counters().read(), reference.counters().read());
        prop_assert_eq!(stats.calls, alone.calls + 1);
        prop_assert_eq!((stats.failed, stats.unknown), (alone.failed, alone.unknown));
    }
}

/// The handlers of the tests and `ECHO`, without batches.
fn batch_free_host() -> HypercallHost {
    let (host, _memory) = host();
    register(&host);
    host.hypercalls()
        .register(ECHO, |call| Ok(call.arg::<0>()))
        .unwrap();
    host
}

fn is_other_core_call(number: u32) -> bool {
    let is_core = HypercallNumber::new(number).is_ok_and(|number| number.name().is_some());
    is_core && number != ECHO.get()
}
