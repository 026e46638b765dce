// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hypercalls on stock KVM.
//!
//! A guest executes VMMCALL or VMCALL; the handler that was registered for its number
//! runs in this process, and its answer is the guest's result. The host kernel is
//! unmodified, and so may be the guest's.
//!
//! # For a VMM of one's own
//!
//! The library needs a [`VmFd`](kvm_ioctls::VmFd), its vCPUs, and guest memory that
//! implements `vm-memory`'s traits; nothing of the VMM in [`vmm`].
//!
//! ```no_run
//! use hcall_vmm::{Disposition, HypercallHost, HypercallNumber, TransportSet, Transport};
//! # use kvm_ioctls::{Kvm, VcpuExit};
//! # use vm_memory::GuestMemoryMmap;
//! # fn example(memory: GuestMemoryMmap) -> Result<(), Box<dyn std::error::Error>> {
//! # let kvm = Kvm::new()?;
//! # let vm = kvm.create_vm()?;
//! // 1. assign a number
//! const GREET: HypercallNumber = HypercallNumber::user(0x01);
//!
//! // Turn the interception on, before any vCPU exists.
//! let offered = TransportSet::EMPTY.with(Transport::Instruction);
//! let host = HypercallHost::new(&vm, memory, offered)?;
//!
//! // 2. implement   3. register
//! host.hypercalls().register(GREET, |call| {
//!     let [a, b, ..] = call.args();
//!     Ok(a + b)
//! })?;
//!
//! // Each vCPU: advertise in its CPUID, and share its registers.
//! let mut vcpu = vm.create_vcpu(0)?;
//! let mut cpuid = kvm.get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES)?;
//! host.advertise(&mut cpuid)?;
//! vcpu.set_cpuid2(&cpuid)?;
//! host.prepare(&mut vcpu);
//!
//! let mut calls = host.vcpu_calls(0);
//! loop {
//!     let exit = vcpu.run()?;
//!     match calls.recognise(&exit) {
//!         Some(transport) => match calls.dispatch(&mut vcpu, transport) {
//!             Disposition::Resume => {}
//!             Disposition::Stop(reason) => break println!("{reason}"),
//!             Disposition::Wait(pending) => calls.complete(&mut vcpu, pending.wait()),
//!         },
//!         None => match exit {
//!             VcpuExit::Hlt => break,
//!             other => println!("the VMM's own business: {other:?}"),
//!         },
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Which transports work on a host is found by [`probe`], which runs a few instructions
//! in a throw-away VM and believes what it saw.
//!
//! # Modules
//!
//! | module | is for |
//! |---|---|
//! | [`table`] | handlers by number |
//! | [`hypercall`](mod@hypercall) | what a handler sees of a call |
//! | [`deferred`] | answers that come later |
//! | [`memory`] | bounds-checked guest memory |
//! | [`interrupts`] | interrupts that handlers give to vCPUs |
//! | [`paging`] | from guest-virtual addresses to guest-physical ones |
//! | [`host`] | the whole of it for one VM: interception, dispatch, counting |
//! | [`intercept`] | what is asked of KVM |
//! | [`decode`] | from a KVM exit to a call |
//! | [`cpuid`] | what the guest is told |
//! | [`core_calls`] | PROBE … PANIC |
//! | [`ring`] | calls through shared memory |
//! | [`batch`] | BATCH: many calls for one exit |
//! | [`probe`] | what works on this machine |
//! | [`watch`] | counts and latencies of each number (feature `watch`) |
//! | [`extend`] | handlers from outside of the program (feature `extend`) |
//! | [`sandbox`] | what a VMM's threads give up (feature `sandbox`) |
//! | [`vmm`] | a VMM that boots unikernels and Linux (feature `vmm`) |
//! | [`cli`] | its command line (feature `cli`) |

pub mod batch;
#[cfg(feature = "cli")]
pub mod cli;
mod confinement;
pub mod core_calls;
pub mod cpuid;
pub mod decode;
pub mod deferred;
mod dispatch;
mod disposition;
#[cfg(feature = "extend")]
pub mod extend;
#[cfg(feature = "_fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod host;
pub mod hypercall;
pub mod intercept;
pub mod interrupts;
mod kick;
mod long_mode;
pub mod memory;
mod observation;
mod origin;
pub mod paging;
pub mod probe;
mod protected_mode;
pub mod ring;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod stats;
pub mod table;
mod vcpu;
mod vcpu_calls;
mod virtual_memory;
#[cfg(feature = "vmm")]
pub mod vmm;
#[cfg(feature = "watch")]
pub mod watch;

pub use deferred::{Deferred, PendingAnswer, ReadyAnswer};
pub use dispatch::PanicPolicy;
pub use disposition::{Disposition, StopReason};
pub use hcall_abi as abi;
pub use hcall_abi::{Errno, Gpa, HypercallNumber, Transport, TransportSet};
pub use host::HypercallHost;
pub use hypercall::{Cpl, Hypercall, HypercallResult, Mode, Origin};
pub use table::{Callers, HypercallTable, Owner, Registration, TableError};
pub use vcpu_calls::VcpuCalls;
