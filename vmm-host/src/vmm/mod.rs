// SPDX-License-Identifier: MIT OR Apache-2.0
//! A small VMM: boots unikernels (ELF with a PVH note, or Multiboot images) and Linux
//! (vmlinux by PVH, or bzImage) with a serial console, and answers their hypercalls.
//!
//! | module | is for |
//! |---|---|
//! | `config` | what the VM is to be |
//! | `machine` | building it |
//! | `vcpu`, `vcpu_threads` | running it |
//! | `gate`, `controller` | pausing, resuming and ending it |
//! | `exits`, `post_mortem` | what is said of a guest that KVM gave up |
//! | `topology` | what a vCPU is told of the others |
//! | `memory` | its memory |
//! | `loader` | putting a guest into it |
//! | `devices` | what the guest finds at its ports |
//!
//! # Example
//!
//! ```no_run
//! use hcall_vmm::vmm::{End, Vm, VmConfig};
//! use hcall_vmm::HypercallNumber;
//!
//! let vm = Vm::new(VmConfig::new("unikernel.elf"))?;
//! vm.hypercalls().register(HypercallNumber::user(0x01), |call| Ok(call.arg::<0>() + 1))?;
//! assert_eq!(vm.run()?, End::Exit(0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod controller;
mod devices;
mod error;
mod exits;
mod gate;
mod loader;
mod machine;
mod memory;
mod post_mortem;
mod topology;
mod vcpu;
mod vcpu_threads;

#[cfg(feature = "watch")]
pub use config::Watching;
pub use config::{
    CallSpans, Console, DebugExit, KvmFeatures, MemorySize, MemorySizeError, TransportChoice,
    VcpuCount, VcpuCountError, VmConfig,
};
pub use controller::Controller;
pub use error::VmError;
pub use gate::{PauseError, VmState};
#[cfg(feature = "_fuzzing")]
pub(crate) use loader::{load, Guest};
#[cfg(feature = "cli")]
pub(crate) use machine::open_kvm;
pub use machine::{RunningVm, Stopper, Vm};
pub use vcpu::End;
