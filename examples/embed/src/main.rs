// SPDX-License-Identifier: MIT OR Apache-2.0
//! A VMM of one's own with hypercalls: `kvm-ioctls`, `vm-memory` and the library, nothing of
//! `hcall-vmm`. Two VMs run at once in this process, each with its own handler for one number.
//!
//! The guest is a few instructions of 16-bit code: it calls GREET with 2 and 40, and ends with
//! the answer as its exit status.

use hcall_vmm::abi::{number::EXIT, transport::PORT};
use hcall_vmm::core_calls::CoreServices;
use hcall_vmm::probe::{probe, Report};
use hcall_vmm::{Disposition, HypercallHost, HypercallNumber, StopReason};
use hcall_vmm::{Transport, TransportSet};
use kvm_bindings::{kvm_regs, kvm_userspace_memory_region, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use std::error::Error;
use std::io::stdout;
use std::thread;
use std::time::Duration;
use vm_memory::{Bytes, GuestAddress, GuestMemory, GuestMemoryMmap, GuestMemoryRegion};

type Failure = Box<dyn Error + Send + Sync>;

/// 1. Assign a number.
const GREET: HypercallNumber = HypercallNumber::user(0x01);

const MEMORY_BYTES: usize = 0x1_0000;
const ENTRY: u64 = 0x1000;
/// Where KVM keeps pages of its own on Intel processors; outside the guest's memory.
const TSS_ADDRESS: usize = 0xfffb_d000;

fn main() -> Result<(), Failure> {
    let kvm = Kvm::new()?;
    let report = probe(&kvm, Duration::from_millis(250));
    let (sum, product) = thread::scope(|scope| {
        let sum = scope.spawn(|| run(&kvm, &report, |a, b| a + b));
        let product = scope.spawn(|| run(&kvm, &report, |a, b| a * b));
        (sum.join(), product.join())
    });
    println!("one VM ended: {}", sum.expect("no panic")?);
    println!("the other VM ended: {}", product.expect("no panic")?);
    Ok(())
}

/// Runs a VM in which GREET is answered by `greet`.
fn run(kvm: &Kvm, found: &Report, greet: fn(u64, u64) -> u64) -> Result<StopReason, Failure> {
    let transport = [Transport::Instruction, Transport::Port]
        .into_iter()
        .find(|transport| found.working().contains(*transport))
        .ok_or("neither the instruction nor the port works on this KVM")?;
    let vm = kvm.create_vm()?;
    vm.set_tss_address(TSS_ADDRESS)?;
    let memory = guest_memory(&vm)?;
    memory.write_slice(&guest(transport, found), GuestAddress(ENTRY))?;

    // Before any vCPU exists.
    let host = HypercallHost::new(&vm, memory, TransportSet::EMPTY.with(transport))?
        .with_core_calls(CoreServices {
            console: Box::new(stdout()),
            tsc_khz: None,
            memory_bytes: MEMORY_BYTES as u64,
            vcpu_count: 1,
        });
    // 2. Implement, 3. register.
    host.hypercalls().register(GREET, move |call| {
        let [a, b, ..] = call.args();
        Ok(greet(a, b))
    })?;

    let mut vcpu = vm.create_vcpu(0)?;
    let mut cpuid = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)?;
    host.advertise(&mut cpuid)?;
    vcpu.set_cpuid2(&cpuid)?;
    host.prepare(&mut vcpu);
    start(&vcpu)?;
    run_vcpu(&host, &mut vcpu)
}

/// The loop of every VMM, with the library's two calls in it.
fn run_vcpu(host: &HypercallHost, vcpu: &mut VcpuFd) -> Result<StopReason, Failure> {
    let mut hypercalls = host.vcpu_calls(0);
    loop {
        let exit = vcpu.run()?;
        match hypercalls.recognise(&exit) {
            Some(transport) => match hypercalls.dispatch(vcpu, transport) {
                Disposition::Resume => {}
                Disposition::Stop(reason) => return Ok(reason),
                Disposition::Wait(pending) => hypercalls.complete(vcpu, pending.wait()),
            },
            None => match exit {
                VcpuExit::Intr => {}
                other => return Err(format!("this VMM has no answer to {other:?}").into()),
            },
        }
    }
}

fn guest_memory(vm: &VmFd) -> Result<GuestMemoryMmap, Failure> {
    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY_BYTES)])?;
    for region in memory.iter() {
        let slot = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: region.start_addr().0,
            memory_size: region.len(),
            userspace_addr: region.as_ptr() as u64,
        };
        // SAFETY: the `HypercallHost` keeps the mapping, and outlives the vCPU.
        unsafe { vm.set_user_memory_region(slot) }?;
    }
    Ok(memory)
}

/// 16-bit code, as after a reset, at `ENTRY` of the first segment.
fn start(vcpu: &VcpuFd) -> Result<(), Failure> {
    let mut sregs = vcpu.get_sregs()?;
    (sregs.cs.base, sregs.cs.selector) = (0, 0);
    vcpu.set_sregs(&sregs)?;
    vcpu.set_regs(&kvm_regs {
        rip: ENTRY,
        rflags: 2,
        ..Default::default()
    })?;
    Ok(())
}

/// `GREET(2, 40)`, then `EXIT(answer)`. A real guest looks into CPUID for the transport.
fn guest(transport: Transport, found: &Report) -> Vec<u8> {
    let trap = match (transport, found.instruction) {
        (Transport::Instruction, Some(instruction)) => instruction.bytes().to_vec(),
        _ => vec![0x66, 0xe7, PORT], // out PORT, eax
    };
    let load = |opcode: u8, value: u32| [vec![0x66, opcode], value.to_le_bytes().to_vec()].concat();
    let (eax, ebx, ecx) = (0xb8, 0xbb, 0xb9); // mov of a constant into each
    let mov_ebx_eax = vec![0x66, 0x89, 0xc3];
    [
        load(ebx, 2),
        load(ecx, 40),
        load(eax, GREET.get()),
        trap.clone(),
        mov_ebx_eax,
        load(eax, EXIT.get()),
        trap,
    ]
    .concat()
}
