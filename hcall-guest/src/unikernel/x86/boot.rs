// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the loader's jump to Rust in 32-bit protected mode: Multiboot header, segments,
//! stack, command line.
//!
//! The loader enters `_start` with eax = its magic and ebx = the address of its
//! information (Multiboot specification 0.6.96, 3.2 "Machine state"). The header has to
//! stand in the first 8 KiB of the file; it is the content of an ELF note, because a
//! linker puts notes at the front without being told.

use core::arch::global_asm;
use core::ffi::CStr;
use core::sync::atomic::{AtomicU32, Ordering};

global_asm!(
    r#"
    .section .note.hcall.multiboot, "a", @note
    .balign 4
    .long 6                         // length of the name
    .long 12                        // length of the descriptor
    .long 1
    .asciz "Hcall"
    .balign 4
    .long 0x1badb002                // the header: magic, flags, checksum
    .long 0
    .long -0x1badb002

    .section .text.hcall_boot, "ax"
    .code32
    .global _start
_start:
    cli
    cld
    movl $hcall_stack_end, %esp
    lgdt hcall_gdt_pointer
    ljmp $8, $1f
1:  movw $16, %cx
    movw %cx, %ds
    movw %cx, %es
    movw %cx, %ss
    movw %cx, %fs
    movw %cx, %gs
    xorl %ebp, %ebp
    subl $8, %esp                   // 16-byte alignment at the call
    pushl %ebx
    pushl %eax
    call hcall_unikernel_start
    ud2

    .section .data.hcall_boot, "aw"
    .balign 8
hcall_gdt:
    .quad 0
    .quad 0x00cf9b000000ffff        // 8: code
    .quad 0x00cf93000000ffff        // 16: data
    .set hcall_gdt_limit, . - hcall_gdt - 1
hcall_gdt_pointer:
    .word hcall_gdt_limit
    .long hcall_gdt

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

/// What a loader leaves in eax.
const LOADER_MAGIC: u32 = 0x2bad_b002;
/// Where the information holds its flags, the one for a command line, and its address.
const FLAGS_OFFSET: u32 = 0;
const HAS_COMMAND_LINE: u32 = 1 << 2;
const COMMAND_LINE_OFFSET: u32 = 16;
/// The longest command line that is looked at, in bytes.
const COMMAND_LINE_MAX: usize = 4096;

static INFORMATION: AtomicU32 = AtomicU32::new(0);

#[no_mangle]
extern "C" fn hcall_unikernel_start(magic: u32, information: u32) -> ! {
    if magic == LOADER_MAGIC {
        INFORMATION.store(information, Ordering::Relaxed);
    }
    super::exception::install();
    // SAFETY: `entry!` defines it with this signature; a unikernel without `entry!` does
    // not link.
    unsafe { hcall_unikernel_main() };
    crate::unikernel::exit(0)
}

/// The command line that the VMM was given for this guest: what follows the first word,
/// which is the image's name. Empty if there is none, or if it is not UTF-8.
pub fn command_line() -> &'static str {
    let line = whole_command_line().unwrap_or("");
    line.split_once(' ').map_or("", |(_, rest)| rest)
}

fn whole_command_line() -> Option<&'static str> {
    let information = INFORMATION.load(Ordering::Relaxed);
    if information == 0 {
        return None;
    }
    // SAFETY: the loader passed this address as its information, which lies in guest
    // memory, 4-byte aligned, and is never freed or written by this runtime.
    let (flags, address) = unsafe {
        (
            core::ptr::read_volatile((information + FLAGS_OFFSET) as *const u32),
            core::ptr::read_volatile((information + COMMAND_LINE_OFFSET) as *const u32),
        )
    };
    if flags & HAS_COMMAND_LINE == 0 || address == 0 {
        return None;
    }
    // SAFETY: the information says that a command line stands there; without paging, every
    // address can be read.
    let bytes = unsafe { core::slice::from_raw_parts(address as *const u8, COMMAND_LINE_MAX) };
    CStr::from_bytes_until_nul(bytes).ok()?.to_str().ok()
}
