// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any input. Each target is a function of the fuzzer's bytes, which
//! panics where something does not hold; `fuzz_targets/` gives it to libFuzzer, and a test
//! here replays the inputs that are kept.
//!
//! | module | is for |
//! |---|---|
//! | `input` | what a target makes of its bytes |
//! | `memory` | guest memory that may not be left, and whose changes are seen |
//! | `vcpu` | a vCPU whose exits the input decides |
//! | `machine` | a host with everything registered, and its rules |
//! | `guest_half` | the other half of a ring, for `ring_memory` |
//! | `image` | files for loaders |
//! | the others | a target each |

mod guest_half;
mod input;
mod machine;
mod memory;
mod vcpu;

mod abi;
mod allow_list;
mod batch;
mod command_line;
mod control;
mod core_calls;
mod cpuid;
mod exits;
mod handler_protocol;
mod image;
mod images;
mod paging;
mod plugin;
mod ring_memory;
mod ring_requests;
pub mod seeds;

pub use abi::abi;
pub use allow_list::allow_list;
pub use batch::batch;
pub use command_line::command_line;
pub use control::control;
pub use core_calls::core_calls;
pub use cpuid::cpuid;
pub use exits::exits;
pub use handler_protocol::handler_protocol;
pub use images::{bzimage, elf, multiboot};
pub use paging::paging;
pub use plugin::plugin;
pub use ring_memory::ring_memory;
pub use ring_requests::ring_requests;

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its folders.
    pub name: &'static str,
    /// What it does with an input.
    pub run: fn(&[u8]),
}

macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        /// All targets.
        pub const TARGETS: &[Target] = &[$(Target { name: stringify!($name), run: $name }),*];
    };
}

targets! {
    abi, allow_list, batch, bzimage, command_line, control, core_calls, cpuid, elf, exits, handler_protocol,
    multiboot, paging, plugin, ring_memory, ring_requests,
}
