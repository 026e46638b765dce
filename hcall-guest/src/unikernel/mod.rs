// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a unikernel needs to live on an hcall host, and nothing else: an entry point
//! that a VMM finds by its PVH note, long mode with the first 4 GiB mapped to
//! themselves, a stack, exception and panic handlers that report through `PANIC`, a
//! console over `CONSOLE_WRITE`, the kernel command line, the other CPUs, and exit.
//!
//! A whole unikernel:
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//!
//! use hcall_guest::unikernel::{entry, println};
//!
//! entry!(main);
//!
//! fn main() {
//!     println!("hello from CPL 0");
//! }
//! ```
//!
//! Build it for `x86_64-unknown-none` with `-C relocation-model=static` and
//! `-C link-arg=--image-base=0x100000`; no linker script is needed. When `main` returns
//! the VM exits with status 0.
//!
//! For `i686-unknown-none`, which `targets/` of this crate describes, the same makes a
//! 32-bit unikernel: a Multiboot image, which stays in protected mode without paging, and
//! on one CPU.

mod console;
mod memory;
mod panic;
mod vector;

cfg_if::cfg_if! {
    if #[cfg(target_arch = "x86")] {
        mod x86;
        use x86::boot;
    } else {
        mod boot;
        mod exception;
        pub mod smp;
    }
}

pub use crate::{unikernel_entry as entry, unikernel_print as print, unikernel_println as println};
pub use boot::command_line;
pub use console::{print_arguments, write, Console};
pub use memory::{batch, guest_info, random, stats, time};

/// Ends the VM; the VMM's process exits with `code`.
///
/// On a host that cannot end the VM, this vCPU halts for ever.
pub fn exit(code: u8) -> ! {
    crate::core_calls::exit(code);
    halt()
}

/// Stops this vCPU for ever, with interrupts off.
pub fn halt() -> ! {
    loop {
        // SAFETY: at CPL 0, which the entry point set up, both are allowed; nothing is
        // expected to run on this vCPU any more.
        unsafe { core::arch::asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

/// Names the function that runs when the unikernel has booted: `entry!(main)` for
/// `fn main()`.
#[macro_export]
macro_rules! unikernel_entry {
    ($main:path) => {
        #[no_mangle]
        extern "Rust" fn hcall_unikernel_main() {
            let main: fn() = $main;
            main()
        }
    };
}
