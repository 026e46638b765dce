// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the VMM's jump to Rust: PVH entry, long mode, stack, command line.
//!
//! The VMM enters `hcall_pvh_entry` in 32-bit protected mode without paging, ebx = the
//! start info's address (Xen, "x86/HVM direct boot ABI"). The page tables are data, so
//! that start-up costs a handful of instructions.

use core::arch::global_asm;
use core::ffi::CStr;
use core::sync::atomic::{AtomicU64, Ordering};

global_asm!(
    r#"
    .section .note.hcall.pvh, "a", @note
    .balign 4
    .long 4                         // length of the name
    .long 4                         // length of the descriptor
    .long 18                        // XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long hcall_pvh_entry

    .section .text.hcall_boot, "ax"
    .code32
    .global hcall_pvh_entry, _start
_start:
hcall_pvh_entry:
    cli
    cld
    movl $hcall_stack_end, %esp
    movl %ebx, %edi                 // the start info: first argument
    movl $hcall_unikernel_start, %esi

    // From 32-bit protected mode without paging to long mode; esp, edi and esi stay:
    // calls the function in esi with the argument in edi.
    .global hcall_enter_long_mode
hcall_enter_long_mode:
    movl $hcall_page_map, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax                 // PAE
    movl %eax, %cr4
    movl $0xc0000080, %ecx          // EFER
    rdmsr
    orl $0x100, %eax                // LME
    wrmsr
    movl %cr0, %eax
    andl $0x9fffffff, %eax          // caches on: they are off after INIT
    orl $0x80000001, %eax           // PG, PE
    movl %eax, %cr0
    lgdt hcall_gdt_pointer
    ljmp $8, $1f

    .code64
1:  movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    xorl %eax, %eax
    movw %ax, %fs
    movw %ax, %gs
    xorl %ebp, %ebp
    movl %edi, %edi                 // clears the upper half
    movl %esi, %esi
    call *%rsi
    ud2

    .section .data.hcall_boot, "aw"
    .balign 8
    .global hcall_gdt, hcall_gdt_limit
hcall_gdt:
    .quad 0
    .quad 0x00af9b000000ffff        // 8: 64-bit code
    .quad 0x00cf93000000ffff        // 16: data
    .quad 0x00cf9b000000ffff        // 24: 32-bit code, for the other CPUs on their way
    .set hcall_gdt_limit, . - hcall_gdt - 1
hcall_gdt_pointer:
    .word hcall_gdt_limit
    .long hcall_gdt

    // The first 4 GiB, each address mapped to itself by pages of 2 MiB, writable.
    .balign 4096
hcall_page_map:
    .quad hcall_page_directory_pointers + 3
    .zero 4088
hcall_page_directory_pointers:
    .quad hcall_page_directories + 0x0003
    .quad hcall_page_directories + 0x1003
    .quad hcall_page_directories + 0x2003
    .quad hcall_page_directories + 0x3003
    .zero 4064
hcall_page_directories:
    .set address, 0x83
    .rept 2048
    .quad address
    .set address, address + 0x200000
    .endr

    .section .bss.hcall_boot, "aw", @nobits
    .balign 16
    .zero 65536
hcall_stack_end:
    "#,
    options(att_syntax)
);

extern "Rust" {
    /// Defined by `entry!`.
    fn hcall_unikernel_main();
}

/// First bytes of a PVH start info.
const START_INFO_MAGIC: u32 = 0x336e_c578;
/// Where the start info holds the command line's address.
const COMMAND_LINE_OFFSET: u64 = 24;
/// The longest command line that is looked at, in bytes; Linux' own limit is below it.
const COMMAND_LINE_MAX: usize = 4096;

static START_INFO: AtomicU64 = AtomicU64::new(0);

#[no_mangle]
extern "C" fn hcall_unikernel_start(start_info: u64) -> ! {
    START_INFO.store(start_info, Ordering::Relaxed);
    super::exception::install();
    // SAFETY: `entry!` defines it with this signature; a unikernel without `entry!` does
    // not link.
    unsafe { hcall_unikernel_main() };
    super::exit(0)
}

/// The command line that the VMM was given for this guest; empty if there is none, or
/// if it is not UTF-8.
pub fn command_line() -> &'static str {
    let start_info = START_INFO.load(Ordering::Relaxed);
    if start_info == 0 {
        return "";
    }
    // SAFETY: the VMM passed this address as the start info, which lies in guest memory
    // below 4 GiB, mapped, 8-byte aligned and never freed or written by this runtime.
    let (magic, address) = unsafe {
        (
            core::ptr::read_volatile(start_info as *const u32),
            core::ptr::read_volatile((start_info + COMMAND_LINE_OFFSET) as *const u64),
        )
    };
    if magic != START_INFO_MAGIC || address == 0 {
        return "";
    }
    // SAFETY: the start info says that a command line stands there; it is mapped for at
    // least the limit below, because the mapping covers all of the first 4 GiB.
    let bytes = unsafe { core::slice::from_raw_parts(address as *const u8, COMMAND_LINE_MAX) };
    CStr::from_bytes_until_nul(bytes)
        .ok()
        .and_then(|line| line.to_str().ok())
        .unwrap_or("")
}
