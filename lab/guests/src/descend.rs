// SPDX-License-Identifier: MIT OR Apache-2.0
//! To CPL 3 for one instruction, and back.
//!
//! Down by IRETQ, up by INT3 through a gate that every CPL may use; an exception at CPL 3
//! comes to the runtime's handlers. That takes what the runtime does not have: segments
//! of CPL 3, a task state segment with the stack for the way up, and pages that CPL 3
//! may use.

use crate::gate::{self, Reach};
use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;

const BREAKPOINT: usize = 3;
const TASK_SELECTOR: u16 = 0x28;
const STACK_SIZE: usize = 16 << 10;

/// Present, and usable from CPL 3 (SDM volume 3, 4.5).
const PAGE_PRESENT: u64 = 1;
const PAGE_USER: u64 = 1 << 2;
const PAGE_ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const TABLE_ENTRIES: usize = 512;

global_asm!(
    r#"
    .text
    .global at_cpl3_vmmcall, at_cpl3_vmcall, at_cpl3_port, descend, ascend
at_cpl3_vmmcall:
    vmmcall
    int3
at_cpl3_vmcall:
    vmcall
    int3
at_cpl3_port:
    out {port}, eax
    int3

// (code, registers, flags) -> what was in rax, and in cs, at INT3.
descend:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov [rip + DESCEND_RETURN_STACK], rsp
    lea rax, [rip + DESCEND_USER_STACK + {stack_size}]
    push 0x18 | 3
    push rax
    push rdx
    push 0x20 | 3
    push rdi
    mov r11, rsi
    mov rax, [r11]
    mov rbx, [r11 + 8]
    mov rcx, [r11 + 16]
    mov rdx, [r11 + 24]
    mov rsi, [r11 + 32]
    mov rdi, [r11 + 40]
    mov r8, [r11 + 48]
    mov r9, [r11 + 56]
    iretq
ascend:
    mov rdx, [rsp + 8]
    mov rsp, [rip + DESCEND_RETURN_STACK]
    mov ecx, 16
    mov ss, ecx
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
    "#,
    port = const hcall_guest::abi::transport::PORT,
    stack_size = const STACK_SIZE,
);

extern "C" {
    fn at_cpl3_vmmcall();
    fn at_cpl3_vmcall();
    fn at_cpl3_port();
    fn descend(code: unsafe extern "C" fn(), registers: *const u64, flags: u64) -> Back;
    fn ascend();
}

/// A trap at CPL 3.
pub type Code = unsafe extern "C" fn();

/// VMMCALL.
pub const VMMCALL: Code = at_cpl3_vmmcall;
/// VMCALL.
pub const VMCALL: Code = at_cpl3_vmcall;
/// `out` to the ABI's port.
pub const PORT: Code = at_cpl3_port;

/// rax, rbx, rcx, rdx, rsi, rdi, r8, r9.
#[derive(Debug)]
pub struct Registers(pub [u64; 8]);

/// What came up from CPL 3.
#[derive(Debug)]
#[repr(C)]
pub struct Back {
    /// What was in rax.
    pub rax: u64,
    /// The code segment that it came from.
    pub cs: u64,
}

/// rflags with this I/O privilege level, and interrupts off.
pub const fn flags(io_privilege: u64) -> u64 {
    const FIXED: u64 = 2;
    FIXED | (io_privilege << 12)
}

/// Memory that the processor or the assembly above uses as well.
#[repr(C, align(16))]
struct Shared<T>(UnsafeCell<T>);

// SAFETY: this unikernel has one vCPU and handles no interrupts.
unsafe impl<T> Sync for Shared<T> {}

#[no_mangle]
static DESCEND_RETURN_STACK: Shared<u64> = Shared(UnsafeCell::new(0));
#[no_mangle]
static DESCEND_USER_STACK: Shared<[u8; STACK_SIZE]> = Shared(UnsafeCell::new([0; STACK_SIZE]));
static EXCEPTION_STACK: Shared<[u8; STACK_SIZE]> = Shared(UnsafeCell::new([0; STACK_SIZE]));

/// A 64-bit task state segment (SDM volume 3, 8.7). The permission bitmap lies behind the
/// limit: no port is permitted.
#[repr(C, packed)]
struct TaskState {
    reserved: u32,
    stack_of_cpl0: u64,
    unused: [u32; 22],
    reserved_too: u16,
    permission_bitmap: u16,
}

const TASK_STATE_SIZE: usize = size_of::<TaskState>();

static TASK_STATE: Shared<TaskState> = Shared(UnsafeCell::new(TaskState {
    reserved: 0,
    stack_of_cpl0: 0,
    unused: [0; 22],
    reserved_too: 0,
    permission_bitmap: TASK_STATE_SIZE as u16,
}));

/// The runtime's segments at its selectors, those of CPL 3, and the task's two entries.
static SEGMENTS: Shared<[u64; 7]> = Shared(UnsafeCell::new([
    0,
    0x00af_9b00_0000_ffff, // 0x08: 64-bit code
    0x00cf_9300_0000_ffff, // 0x10: data
    0x00cf_f300_0000_ffff, // 0x18: data, CPL 3
    0x00af_fb00_0000_ffff, // 0x20: 64-bit code, CPL 3
    0,
    0,
]));

#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

/// Proof that everything is in place.
#[derive(Debug)]
pub struct Descent(());

impl Descent {
    /// Puts everything in place; to be called once.
    pub fn prepare() -> Self {
        open_pages();
        load_segments();
        // SAFETY: `ascend` takes INT3 of the code above, and nothing else executes INT3.
        unsafe { gate::replace(BREAKPOINT, ascend as *const () as u64, Reach::Everybody) };
        Self(())
    }

    /// Executes `code` at CPL 3.
    pub fn run(&self, code: Code, registers: &Registers, flags: u64) -> Back {
        // SAFETY: `prepare` has run; the code is one of the three above, and the calls
        // that this guest makes do not touch its memory.
        unsafe { descend(code, registers.0.as_ptr(), flags) }
    }
}

/// Lets CPL 3 use the first GiB, in which this guest lies.
fn open_pages() {
    let root: u64;
    // SAFETY: reading CR3 at CPL 0 changes nothing.
    unsafe { asm!("mov {}, cr3", out(reg) root, options(nomem, nostack)) };
    let pointers = open_entry(root, 0);
    let directory = open_entry(pointers, 0);
    for index in 0..TABLE_ENTRIES {
        open_entry(directory, index);
    }
    // SAFETY: the same tables with more rights; what was cached of them is dropped.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack)) };
}

/// Sets the user bit of one entry; returns what it points to.
fn open_entry(table: u64, index: usize) -> u64 {
    let entry = ((table & PAGE_ADDRESS) as *mut u64).wrapping_add(index);
    // SAFETY: the runtime's page tables lie in mapped, writable memory, which nothing
    // else refers to; one more right for CPL 3 changes nothing for CPL 0.
    let value = unsafe { entry.read_volatile() };
    assert_eq!(
        value & PAGE_PRESENT,
        PAGE_PRESENT,
        "page tables as expected"
    );
    // SAFETY: as above.
    unsafe { entry.write_volatile(value | PAGE_USER) };
    value
}

fn load_segments() {
    let task = TASK_STATE.0.get();
    let base = task as u64;
    const PRESENT_TASK: u64 = 0x89 << 40;
    let low = (TASK_STATE_SIZE as u64 - 1)
        | ((base & 0x00ff_ffff) << 16)
        | PRESENT_TASK
        | (((base >> 24) & 0xff) << 56);
    let segments = SEGMENTS.0.get();
    let pointer = TablePointer {
        limit: (size_of::<[u64; 7]>() - 1) as u16,
        base: segments as u64,
    };
    // SAFETY: the only vCPU, which uses neither yet, and both are static.
    unsafe {
        (*task).stack_of_cpl0 = EXCEPTION_STACK.0.get() as u64 + STACK_SIZE as u64;
        (*segments)[5] = low;
        (*segments)[6] = base >> 32;
    }
    // SAFETY: at CPL 0; the table has the segments in use at their selectors, and an
    // available task state segment at the one loaded.
    unsafe {
        asm!("lgdt [{}]", in(reg) &raw const pointer, options(nostack));
        asm!("ltr {:x}", in(reg) TASK_SELECTOR, options(nostack));
    }
}
