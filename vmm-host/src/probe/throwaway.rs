// SPDX-License-Identifier: MIT OR Apache-2.0
//! The throw-away VM: two calls and a HLT, in 64-bit mode, under a deadline.

use crate::disposition::Disposition;
use crate::host::HypercallHost;
use crate::intercept::InterceptError;
use crate::{kick, long_mode};
use hcall_abi::carrier::CarrierRegisters;
use hcall_abi::convention::{Arguments, TrapInstruction};
use hcall_abi::transport::PORT;
use hcall_abi::{Gpa, HypercallNumber, Transport, TransportSet};
use kvm_bindings::{kvm_regs, kvm_userspace_memory_region, CpuId};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::{Duration, Instant};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Where the guest's page of code lies, and its page tables right behind.
const CODE: Gpa = Gpa::new(0x1000);
const PAGE_TABLES: Gpa = Gpa::new(0x2000);
const PAGE_SIZE: usize = 4096;
const MEMORY_SIZE: usize = (1 + long_mode::TABLES) * PAGE_SIZE;
/// Where KVM may keep its own pages on Intel processors; no memory of ours is there.
const TSS_ADDRESS: usize = 0xfffb_d000;

const NUMBER: HypercallNumber = HypercallNumber::user(0x7fff);
const ARGUMENTS: Arguments = [
    0x1111_1111_2222_2222,
    0x3333_3333_4444_4444,
    0x5555_5555_6666_6666,
    0x7777_7777_8888_8888,
];
const ANSWER: u64 = 0x1234_5678_9abc_def0;

const HLT: u8 = 0xf4;
const OUT_IMM8_EAX: u8 = 0xe7;
const MOV_EAX_IMM32: u8 = 0xb8;

/// Why a transport cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Intercept(#[from] InterceptError),
    #[error("KVM: {0}")]
    Kvm(#[from] kvm_ioctls::Error),
    #[error("memory for the probe VM: {0}")]
    Memory(#[from] vm_memory::mmap::FromRangesError),
    #[error("cannot install a signal handler: {0}")]
    Signal(kvm_ioctls::Error),
    #[error("unknown processor vendor: neither VMMCALL nor VMCALL is known to be right")]
    UnknownVendor,
    #[error("the call never left the guest; the probe VM was stopped after {0:?}")]
    Deadline(Duration),
    #[error("the call faulted in the guest (its instruction raised #UD or #GP)")]
    Faulted,
    #[error("the call was answered inside the kernel and did not reach this process")]
    NotDelivered,
    #[error("the call arrived with other registers than the guest set, or its answer did not")]
    Garbled,
    #[error("the guest stopped with an exit that was not expected: {0}")]
    UnexpectedExit(String),
    #[error("cannot start a thread for the probe VM: {0}")]
    Thread(std::io::Error),
    #[error("the thread of the probe VM panicked")]
    ThreadPanicked,
}

/// Makes two calls over `transport`; returns how long the second took.
pub(super) fn try_transport(
    kvm: &Kvm,
    transport: Transport,
    instruction: Option<TrapInstruction>,
    cpuid: &CpuId,
    deadline: Duration,
) -> Result<Duration, Failure> {
    kick::install().map_err(Failure::Signal)?;
    let trap = match transport {
        Transport::Port => vec![OUT_IMM8_EAX, PORT],
        _ => instruction.ok_or(Failure::UnknownVendor)?.bytes().to_vec(),
    };
    let vm = kvm.create_vm()?;
    let guest = Guest::new(&vm, transport, cpuid, &trap)?;
    run_under_deadline(guest, deadline)
}

struct Guest {
    vcpu: VcpuFd,
    host: HypercallHost,
    /// What the guest starts with; no call changes any but rax and rip.
    registers: kvm_regs,
    intact: Arc<AtomicBool>,
}

impl Guest {
    fn new(vm: &VmFd, transport: Transport, cpuid: &CpuId, trap: &[u8]) -> Result<Self, Failure> {
        let memory =
            GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(CODE.get()), MEMORY_SIZE)])?;
        map(vm, &memory)?;
        let registers = registers_of_call(transport);
        fill(&memory, &registers, trap)?;

        vm.set_tss_address(TSS_ADDRESS)?;
        let offered = TransportSet::EMPTY.with(transport);
        let host = HypercallHost::new(vm, memory, offered)?;
        let intact = Arc::new(AtomicBool::new(true));
        let seen = Arc::clone(&intact);
        host.hypercalls()
            .register(NUMBER, move |call| {
                if call.args() != ARGUMENTS {
                    seen.store(false, Ordering::Relaxed);
                }
                Ok(ANSWER)
            })
            .expect("the table is new and empty");

        let mut vcpu = vm.create_vcpu(0)?;
        vcpu.set_cpuid2(cpuid)?;
        start(&vcpu, &registers)?;
        host.prepare(&mut vcpu);
        Ok(Self {
            vcpu,
            host,
            registers,
            intact,
        })
    }

    /// Runs until HLT; returns the time between the two calls.
    fn run(&mut self, stop: &AtomicBool, deadline: Duration) -> Result<Duration, Failure> {
        let mut calls = Vec::with_capacity(2);
        loop {
            let exit = match self.vcpu.run() {
                Ok(exit) => exit,
                Err(_) if stop.load(Ordering::Relaxed) => return Err(Failure::Deadline(deadline)),
                Err(error) if is_interruption(error) => continue,
                Err(error) => return Err(error.into()),
            };
            match self.host.recognise(&exit) {
                Some(transport) => {
                    calls.push(Instant::now());
                    match self.host.dispatch(&mut self.vcpu, 0, transport) {
                        Disposition::Resume => {}
                        Disposition::Stop(reason) => {
                            return Err(Failure::UnexpectedExit(reason.to_string()))
                        }
                        Disposition::Wait(pending) => {
                            self.host.complete(&mut self.vcpu, pending.wait());
                        }
                    }
                }
                None => match exit {
                    VcpuExit::Hlt => break,
                    VcpuExit::Shutdown => return Err(Failure::Faulted),
                    other => return Err(Failure::UnexpectedExit(format!("{other:?}"))),
                },
            }
        }
        self.verdict(&calls)
    }

    fn verdict(&self, calls: &[Instant]) -> Result<Duration, Failure> {
        let registers = self.vcpu.get_regs()?;
        let kept = kvm_regs {
            rax: self.registers.rax,
            rip: self.registers.rip,
            ..registers
        } == self.registers;
        match *calls {
            [first, second]
                if kept && registers.rax == ANSWER && self.intact.load(Ordering::Relaxed) =>
            {
                Ok(second - first)
            }
            [] => Err(Failure::NotDelivered),
            _ => Err(Failure::Garbled),
        }
    }
}

fn is_interruption(error: kvm_ioctls::Error) -> bool {
    std::io::Error::from(error).kind() == std::io::ErrorKind::Interrupted
}

fn map(vm: &VmFd, memory: &GuestMemoryMmap) -> Result<(), Failure> {
    use vm_memory::{GuestMemory, GuestMemoryRegion};
    for region in memory.iter() {
        let slot = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: region.start_addr().0,
            memory_size: region.len(),
            userspace_addr: region.as_ptr() as u64,
        };
        // SAFETY: the mapping lives in the `HypercallHost` of the same `Guest` as the
        // vCPU, and nothing else is mapped in this VM.
        unsafe { vm.set_user_memory_region(slot)? };
    }
    Ok(())
}

/// The registers that make the call over `transport`, with rip at the code.
fn registers_of_call(transport: Transport) -> kvm_regs {
    let [first, second, third, fourth] = ARGUMENTS;
    let start = kvm_regs {
        rip: CODE.get(),
        rflags: 2,
        ..Default::default()
    };
    if transport == Transport::Carrier {
        let CarrierRegisters { rax, rbx, rcx, rdx } = CarrierRegisters::carrying(NUMBER.get());
        return kvm_regs {
            rax,
            rbx,
            rcx,
            rdx,
            rsi: first,
            rdi: second,
            r8: third,
            r9: fourth,
            ..start
        };
    }
    kvm_regs {
        rax: NUMBER.get().into(),
        rbx: first,
        rcx: second,
        rdx: third,
        rsi: fourth,
        ..start
    }
}

/// Puts two calls and HLT into the guest's memory, and the page tables.
fn fill(memory: &GuestMemoryMmap, registers: &kvm_regs, trap: &[u8]) -> Result<(), Failure> {
    // rax is loaded anew, since the answer stands there; the upper half becomes zero.
    let rax = (registers.rax as u32).to_le_bytes();
    let call = [&[MOV_EAX_IMM32][..], &rax, trap].concat();
    let code = [&call[..], &call, &[HLT]].concat();
    let write = |bytes: &[u8], gpa: Gpa| {
        memory
            .write_slice(bytes, GuestAddress(gpa.get()))
            .map_err(|_| Failure::Garbled)
    };
    write(&code, CODE)?;
    for (gpa, entry) in long_mode::tables(PAGE_TABLES) {
        write(&entry.to_le_bytes(), gpa)?;
    }
    Ok(())
}

fn start(vcpu: &VcpuFd, registers: &kvm_regs) -> Result<(), Failure> {
    let mut sregs = vcpu.get_sregs()?;
    long_mode::enter(&mut sregs, PAGE_TABLES);
    vcpu.set_sregs(&sregs)?;
    vcpu.set_regs(registers)?;
    Ok(())
}

/// Runs `guest` on a thread of its own, and gets it out of KVM after `deadline`.
fn run_under_deadline(mut guest: Guest, deadline: Duration) -> Result<Duration, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let (report, outcome) = mpsc::channel();
    let stopped = Arc::clone(&stop);
    let run = move || {
        // The receiver is gone only after a time-out, when nobody asks any more.
        let _ = report.send(guest.run(&stopped, deadline));
    };
    let thread = thread::Builder::new()
        .name("probe-vcpu".into())
        .spawn(run)
        .map_err(Failure::Thread)?;
    let result = outcome.recv_timeout(deadline);
    if result.is_err() {
        stop.store(true, Ordering::Relaxed);
        kick::until_finished(&thread);
    }
    thread.join().map_err(|_| Failure::ThreadPanicked)?;
    result.unwrap_or(Err(Failure::Deadline(deadline)))
}
