// SPDX-License-Identifier: MIT OR Apache-2.0
//! Has the host give this vCPU interrupts, and counts those that come.
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};
use hcall_guest::unikernel::{entry, println};
use hcall_guest::{hcall2, Errno};
use hcall_lab_contract::{INJECT, INJECTED};

entry!(main);

/// The local APIC: its end of interrupt, and its switch with the spurious vector (SDM volume
/// 3, 12.4.1).
const END_OF_INTERRUPT: u32 = 0xfee0_00b0;
const SPURIOUS: *mut u32 = 0xfee0_00f0 as *mut u32;
const ENABLED: u32 = 0x1ff;

const VECTOR: u64 = 0x51;
/// With a priority of its own.
const OTHER_VECTOR: u64 = 0x91;

const GATES: usize = 256;
/// The runtime's gates, which are kept.
const EXCEPTIONS: usize = 32;

#[no_mangle]
static COUNT: AtomicU64 = AtomicU64::new(0);
#[no_mangle]
static OTHER_COUNT: AtomicU64 = AtomicU64::new(0);

global_asm!(
    r#"
    .text
    .global take_interrupt, take_other_interrupt
take_interrupt:
    lock inc qword ptr [rip + COUNT]
    jmp 2f
take_other_interrupt:
    lock inc qword ptr [rip + OTHER_COUNT]
2:  push rax
    mov eax, {end_of_interrupt}
    mov dword ptr [rax], 0
    pop rax
    iretq
    "#,
    end_of_interrupt = const END_OF_INTERRUPT,
);

extern "C" {
    fn take_interrupt();
    fn take_other_interrupt();
}

#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

#[repr(C, align(16))]
struct Gates(UnsafeCell<[[u64; 2]; GATES]>);

// SAFETY: written before it is the processor's, by the only vCPU.
unsafe impl Sync for Gates {}

static TABLE: Gates = Gates(UnsafeCell::new([[0; 2]; GATES]));

fn main() {
    let refused = inject(0, VECTOR).expect_err("the local APIC is off");
    assert_eq!(refused, Some(Errno::ENXIO));
    load_table();
    // SAFETY: the register stands there, mapped to itself; interrupts are off still.
    unsafe { SPURIOUS.write_volatile(ENABLED) };
    assert_eq!(inject(7, VECTOR), Err(Some(Errno::ENXIO)));
    assert_eq!(inject(0xff, VECTOR), Err(Some(Errno::ENXIO)));
    assert_eq!(inject(0, 15), Err(Some(Errno::EINVAL)));

    // What comes while interrupts are off waits, and comes once.
    for _ in 0..3 {
        assert_eq!(inject(0, VECTOR), Ok(0));
    }
    assert_eq!(counts(), [0, 0]);
    turn_on();
    wait_for([1, 0]);

    for round in 1..=INJECTED {
        assert_eq!(inject(0, VECTOR), Ok(0), "round {round}");
        wait_for([1 + round, round - 1]);
        assert_eq!(inject(0, OTHER_VECTOR), Ok(0), "round {round}");
        wait_for([1 + round, round]);
    }
    println!("{} and {INJECTED} interrupts", 1 + INJECTED);
}

fn inject(vcpu: u64, vector: u64) -> Result<u64, Option<Errno>> {
    hcall2(INJECT, vcpu, vector).map_err(|error| error.errno())
}

fn counts() -> [u64; 2] {
    [&COUNT, &OTHER_COUNT].map(|count| count.load(Ordering::Acquire))
}

/// Until they are these; the suite ends a guest for which they never are.
fn wait_for(due: [u64; 2]) {
    while counts() != due {
        let found = counts();
        assert!(
            found.iter().zip(due).all(|(found, due)| *found <= due),
            "{found:?}, not {due:?}"
        );
        core::hint::spin_loop();
    }
}

fn turn_on() {
    // SAFETY: every vector that can come has a gate to a handler that leaves all registers.
    unsafe { asm!("sti", options(nostack)) };
}

/// The runtime's gates, and two more.
fn load_table() {
    let mut pointer = TablePointer { limit: 0, base: 0 };
    // SAFETY: at CPL 0, SIDT writes the ten bytes of the structure.
    unsafe { asm!("sidt [{}]", in(reg) &raw mut pointer, options(nostack)) };
    let table = TABLE.0.get().cast::<[u64; 2]>();
    // SAFETY: the runtime's table has 32 gates of 16 bytes, ours has 256, and nobody else uses
    // ours yet.
    unsafe { core::ptr::copy_nonoverlapping(pointer.base as *const [u64; 2], table, EXCEPTIONS) };
    let gates = [
        (VECTOR, take_interrupt as unsafe extern "C" fn()),
        (OTHER_VECTOR, take_other_interrupt),
    ];
    for (vector, handler) in gates {
        let handler = handler as usize as u64;
        const PRESENT_INTERRUPT_GATE_OF_CODE_8: u64 = 0x8e00_0008_0000;
        let low = (handler & 0xffff)
            | PRESENT_INTERRUPT_GATE_OF_CODE_8
            | (((handler >> 16) & 0xffff) << 48);
        // SAFETY: the vector is below 256, and nobody else uses the table yet.
        unsafe { table.add(vector as usize).write([low, handler >> 32]) };
    }
    let pointer = TablePointer {
        limit: (size_of::<[[u64; 2]; GATES]>() - 1) as u16,
        base: table as u64,
    };
    // SAFETY: the table is static, and its present gates lead to the runtime's handlers and to
    // the two above, which return as they came.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack)) };
}
