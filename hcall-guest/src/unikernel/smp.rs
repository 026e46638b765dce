// SPDX-License-Identifier: MIT OR Apache-2.0
//! The other CPUs: started one after the other by INIT and SIPI through the local APIC
//! (SDM volume 3, 9.4 "Multiple-Processor (MP) Initialization").
//!
//! A CPU starts in real mode at a page below 1 MiB, where a trampoline is copied that only
//! gets it to 32-bit protected mode; from there its way is that of the CPU that booted.
//! CPU *n* is the vCPU whose local APIC has the id *n*.

use super::{exception, guest_info, halt, time};
use crate::Error;
use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use core::time::Duration;
use hcall_abi::layout::Clock;

/// Most CPUs that this runtime has stacks for.
pub const MAX_CPUS: u32 = 16;

const STACK_SIZE: usize = 16 * 1024;

/// Where the trampoline is copied: free memory of a PC, and nothing that the VMM or this
/// runtime keeps anything in.
const TRAMPOLINE: usize = 0x8000;

/// The local APIC's spurious interrupt vector register, whose bit 8 switches the APIC on.
const SPURIOUS: *mut u32 = 0xfee0_00f0 as *mut u32;
/// On; the vector is one that this runtime has no handler for, as it takes no interrupts.
const ENABLED: u32 = 0x1ff;

/// The local APIC's interrupt command register: its upper and lower half.
const COMMAND_HIGH: *mut u32 = 0xfee0_0310 as *mut u32;
const COMMAND_LOW: *mut u32 = 0xfee0_0300 as *mut u32;
/// Where the target's id stands in the upper half.
const TARGET_SHIFT: u32 = 24;
/// Commands, level asserted: INIT, and start-up at the page in the low byte.
const INIT: u32 = 0x4500;
const STARTUP: u32 = 0x4600 | (TRAMPOLINE >> 12) as u32;

/// How long a CPU may take to start before it is told so again, and before it is given up.
const PATIENCE: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];

global_asm!(
    r#"
    .section .text.hcall_trampoline, "ax"
    .code16
    .balign 8
    .global hcall_trampoline, hcall_trampoline_end
hcall_trampoline:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    lgdtl (1f - hcall_trampoline)
    movl %cr0, %eax
    orl $1, %eax                    // PE
    movl %eax, %cr0
    ljmpl $24, $2f
    .balign 8
1:  .word hcall_gdt_limit
    .long hcall_gdt
hcall_trampoline_end:

    .code32
2:  movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl {stack_end}, %esp
    xorl %edi, %edi
    movl ${start}, %esi
    jmp hcall_enter_long_mode
    .code64
    "#,
    stack_end = sym STACK_END,
    start = sym start_here,
    options(att_syntax)
);

extern "C" {
    /// First byte of the trampoline and the one after its last; only the addresses are used.
    static hcall_trampoline: u8;
    static hcall_trampoline_end: u8;
}

#[repr(C, align(16))]
struct Stack(UnsafeCell<[u8; STACK_SIZE]>);

// SAFETY: each stack is used by one CPU, and by nothing else.
unsafe impl Sync for Stack {}

static STACKS: [Stack; MAX_CPUS as usize - 1] =
    [const { Stack(UnsafeCell::new([0; STACK_SIZE])) }; MAX_CPUS as usize - 1];

/// Of the CPU that is being started: the end of its stack, its number, what it is to run.
static STACK_END: AtomicU32 = AtomicU32::new(0);
static STARTING: AtomicU32 = AtomicU32::new(0);
static WORK: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// The CPU that has started last.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// Why not all CPUs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// The host did not say how many CPUs there are, or what time it is.
    Host(Error),
    /// There are more than [`MAX_CPUS`].
    TooMany(u32),
    /// This CPU did not start.
    NotStarted(u32),
    /// They have been started before.
    Again,
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(error) => error.fmt(formatter),
            Self::TooMany(count) => {
                write!(
                    formatter,
                    "{count} CPUs are more than the {MAX_CPUS} that this runtime has stacks for"
                )
            }
            Self::NotStarted(cpu) => write!(formatter, "CPU {cpu} did not start"),
            Self::Again => formatter.write_str("the CPUs have been started already"),
        }
    }
}

impl core::error::Error for StartError {}

impl From<Error> for StartError {
    fn from(error: Error) -> Self {
        Self::Host(error)
    }
}

/// How many CPUs this VM has, by the host's `GUEST_INFO`.
///
/// # Errors
///
/// Those of every call.
pub fn cpu_count() -> Result<u32, Error> {
    Ok(guest_info()?.vcpu_count)
}

/// Starts every other CPU. Each runs `work` with its number, 1 and up, and then halts.
/// Returns how many CPUs run, this one included, without waiting for their work.
///
/// # Errors
///
/// [`StartError`]; the CPUs before the one that did not start run all the same.
pub fn start_others(work: fn(u32)) -> Result<u32, StartError> {
    let count = cpu_count()?;
    if count > MAX_CPUS {
        return Err(StartError::TooMany(count));
    }
    let first = WORK.compare_exchange(
        core::ptr::null_mut(),
        work as *mut (),
        Ordering::Release,
        Ordering::Relaxed,
    );
    if first.is_err() {
        return Err(StartError::Again);
    }
    copy_trampoline();
    enable_local_apic();
    for (cpu, stack) in (1..count).zip(&STACKS) {
        start(cpu, stack)?;
    }
    Ok(count)
}

fn copy_trampoline() {
    let start = &raw const hcall_trampoline;
    let length = &raw const hcall_trampoline_end as usize - start as usize;
    // SAFETY: the trampoline is `length` bytes of this image, shorter than a page; the page
    // it goes to is mapped, and holds nothing.
    unsafe { core::ptr::copy_nonoverlapping(start, TRAMPOLINE as *mut u8, length) };
}

/// As the processor that boots has to before it wakes others (SDM, as above). KVM has a
/// reason of its own to want it: the vCPU made last is missing from its map of APICs until
/// something changes that map, and an INIT to it is lost.
fn enable_local_apic() {
    // SAFETY: the register stands at this address, mapped to itself, as in `command`. This
    // runtime keeps interrupts off, so that none arrives that the APIC now lets through.
    unsafe { SPURIOUS.write_volatile(ENABLED) };
}

fn start(cpu: u32, stack: &Stack) -> Result<(), StartError> {
    STACK_END.store(stack.0.get() as u32 + STACK_SIZE as u32, Ordering::Relaxed);
    STARTING.store(cpu, Ordering::Release);
    command(cpu, INIT);
    // A processor wants 10 ms between the two; KVM keeps the second for the vCPU.
    for patience in PATIENCE {
        command(cpu, STARTUP);
        if has_started(cpu, patience)? {
            return Ok(());
        }
    }
    Err(StartError::NotStarted(cpu))
}

fn command(cpu: u32, command: u32) {
    // SAFETY: the local APIC's registers stand at this address, mapped to itself, unless
    // somebody moved them, which this runtime does not. The target is a CPU that runs
    // nothing yet.
    unsafe {
        COMMAND_HIGH.write_volatile(cpu << TARGET_SHIFT);
        COMMAND_LOW.write_volatile(command);
    }
}

fn has_started(cpu: u32, patience: Duration) -> Result<bool, Error> {
    let deadline = now()? + patience;
    while STARTED.load(Ordering::Acquire) != cpu {
        if now()? > deadline {
            return Ok(false);
        }
        core::hint::spin_loop();
    }
    Ok(true)
}

fn now() -> Result<Duration, Error> {
    let value = time(Clock::Monotonic)?;
    Ok(Duration::new(value.seconds, value.nanoseconds))
}

/// What a CPU runs once it is in long mode on its own stack.
extern "C" fn start_here() -> ! {
    exception::load();
    let cpu = STARTING.load(Ordering::Acquire);
    let work = WORK.load(Ordering::Acquire);
    STARTED.store(cpu, Ordering::Release);
    // SAFETY: `start_others` put a `fn(u32)` there before it started this CPU.
    let work = unsafe { core::mem::transmute::<*mut (), fn(u32)>(work) };
    work(cpu);
    halt()
}
