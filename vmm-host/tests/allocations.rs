// SPDX-License-Identifier: MIT OR Apache-2.0
//! The path of a call allocates nothing, whether the call comes alone or in a batch.

#[allow(dead_code)] // Shared with tests that use other parts of it.
#[path = "host/fake_vcpu.rs"]
mod fake_vcpu;

use fake_vcpu::{host, FakeVcpu};
use hcall_abi::batch::BatchEntry;
use hcall_abi::number::{BATCH, ECHO};
use hcall_abi::Transport;
use hcall_vmm::core_calls::CoreServices;
use hcall_vmm::{Disposition, HypercallHost};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use vm_memory::{Bytes, GuestAddress};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting for each thread.
struct Counting;

// SAFETY: everything is the system's; the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller vouches.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller vouches.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

fn make(host: &HypercallHost, vcpu: &mut FakeVcpu, number: u32, arguments: [u64; 4]) -> i64 {
    vcpu.trap(number.into(), arguments);
    let disposition = host.dispatch(vcpu, 0, Transport::Instruction);
    assert_eq!(disposition, Disposition::Resume);
    vcpu.answer()
}

#[test]
fn calls_and_batches_allocate_nothing() {
    const COUNT: u64 = 200;
    let (host, memory) = host();
    let host = host.with_core_calls(CoreServices {
        console: Box::new(std::io::sink()),
        tsc_khz: None,
        memory_bytes: 0,
        vcpu_count: 1,
    });
    for index in 0..COUNT {
        let entry = BatchEntry::new(ECHO, [index, 0, 0, 0]);
        let place = GuestAddress(index * size_of::<BatchEntry>() as u64);
        memory.write_slice(&entry.to_bytes(), place).unwrap();
    }
    let mut vcpu = FakeVcpu::new();
    // What a thread does once, at its first look into the table.
    assert_eq!(make(&host, &mut vcpu, ECHO.get(), [1, 0, 0, 0]), 1);

    let before = allocations();
    drop(vec![0_u8; 1]);
    assert_eq!(allocations() - before, 1, "allocations are counted");

    let before = allocations();
    assert_eq!(make(&host, &mut vcpu, ECHO.get(), [2, 0, 0, 0]), 2);
    let answered = make(&host, &mut vcpu, BATCH.get(), [0, COUNT, 0, 0]);
    assert_eq!(allocations() - before, 0);
    assert_eq!(answered, COUNT as i64);
}
