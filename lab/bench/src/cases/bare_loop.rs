// SPDX-License-Identifier: MIT OR Apache-2.0
//! The loop of a VMM that answers hypercalls, against one that only re-enters, and one that
//! gives every call the same answer: same KVM, same VM, same guest, by turns. Further loops
//! touch pages besides, which tells what a page costs there. Where the time-stamp counter
//! counts instructions, they are what is compared: the same in each run, whatever the load.

mod meter;
mod pages;

use super::{is_emulated, Outcome, Setting};
use hcall_abi::convention::TrapInstruction;
use hcall_abi::number::ECHO;
use hcall_abi::transport::PORT;
use hcall_abi::{Transport, TransportSet};
use hcall_measurement::{Measurement, Unit};
use hcall_vmm::{Disposition, HypercallHost};
use kvm_bindings::{kvm_regs, kvm_run, kvm_userspace_memory_region, KVMIO, KVM_SYNC_X86_REGS};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use meter::Meter;
use pages::Pages;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use vm_memory::{Bytes, GuestAddress, GuestMemory, GuestMemoryMmap, GuestMemoryRegion};
use vmm_sys_util::ioctl::ioctl;

mod request {
    //! KVM_RUN as it is.
    #![allow(unreachable_pub)] // what the macro makes is `pub`
    use super::KVMIO;
    vmm_sys_util::ioctl_io_nr!(KVM_RUN, KVMIO, 0x80);
}

const ROUNDS: usize = 1_501;
/// The rounds are done so many times, and those count in which our loop came off best: what
/// else the machine does then takes caches from whoever touches most.
const PASSES: usize = 3;
/// A turn takes about this long; the machine is likely to do nothing else in between.
const TURN_MICROSECONDS: f64 = 200.0;
/// Calls of a turn, at least.
const FEW_CALLS: u32 = 20;
/// Instructions differ only where the kernel's timer comes in between.
const ROUNDS_COUNTED: usize = 101;
/// So many calls that the turn's own instructions do not show.
const CALLS_COUNTED: u32 = 100;

/// What our loop may take, as a multiple of another's.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Of one that re-enters: KVM's part in answering is in it, as it shares the registers, and
    /// takes back rax.
    bare: f64,
    /// Of one that answers the same, which has KVM do just that: what is left is the library's.
    answering: f64,
}

impl Limits {
    const HARDWARE: Self = Self {
        bare: 1.03,
        answering: 1.03,
    };
    /// KVM's part alone is 1.021 to 1.023 there, and which pages the kernel gave to a process
    /// moves ours between 1.027 and 1.032; so what is ours has the narrower limit.
    const SOFTWARE: Self = Self {
        bare: 1.04,
        answering: 1.015,
    };
    /// An emulated processor forgets every translation at each change between host and guest:
    /// what a page then costs is measured as well, and ours are several more than the bare
    /// loop's. Other load or another layout of the program's code moves it by 0.02.
    const EMULATED: Self = Self {
        bare: 1.15,
        answering: 1.15,
    };
    /// Taking back rax is KVM's, and most of the rest.
    const EMULATED_PORT: Self = Self {
        bare: 1.20,
        ..Self::EMULATED
    };

    fn of(setting: &Setting, transport: Transport) -> Self {
        match transport {
            Transport::Port if is_emulated() => Self::EMULATED_PORT,
            _ if is_emulated() => Self::EMULATED,
            _ if setting.emulates_kernel_code() => Self::SOFTWARE,
            _ => Self::HARDWARE,
        }
    }
}

/// How many instructions answering may take more than giving every call the same answer, from
/// KVM_RUN's return to the next. A tenth above what one compiler makes of it; others differ.
const LIMIT_INSTRUCTIONS: f64 = 155.0;
const LIMIT_INSTRUCTIONS_PORT: f64 = 172.0;

const CODE: u64 = 0x1000;
const MEMORY_SIZE: usize = 0x2000;
/// Where KVM may keep its own pages on Intel processors.
const TSS_ADDRESS: usize = 0xfffb_d000;

/// `mov eax, imm32` in 16-bit mode, `out imm8, eax`, `jmp` by a byte.
const MOV_EAX_IMM32: [u8; 2] = [0x66, 0xb8];
const OUT_IMM8_EAX: [u8; 2] = [0x66, 0xe7];
const JMP_REL8: u8 = 0xeb;

pub(crate) fn measure(setting: &Setting) -> Result<Outcome, String> {
    let mut measurements = Vec::new();
    // The guest is in 16-bit mode, where there is no carrier.
    for transport in [Transport::Instruction, Transport::Port] {
        if !setting.working().contains(transport) {
            continue;
        }
        let mut calling = Loop::new(transport, setting.probed.instruction)?;
        measurements.extend(if setting.tsc_counts_instructions {
            calling.count()?
        } else {
            calling.compare(Limits::of(setting, transport))?
        });
    }
    if measurements.is_empty() {
        return Ok(Outcome::NotHere(
            "neither instruction nor port works".into(),
        ));
    }
    Ok(Outcome::Measured(measurements))
}

/// A guest that calls for ever.
struct Loop {
    transport: Transport,
    vcpu: VcpuFd,
    host: HypercallHost,
    stop: AtomicBool,
    pages: Pages,
    /// Outlived by the vCPU.
    _vm: VmFd,
}

fn say(what: &'static str) -> impl Fn(kvm_ioctls::Error) -> String {
    move |error| format!("{what}: {error}")
}

fn text(error: impl Display) -> String {
    error.to_string()
}

impl Loop {
    fn new(transport: Transport, instruction: Option<TrapInstruction>) -> Result<Self, String> {
        let kvm = Kvm::new().map_err(say("/dev/kvm"))?;
        let vm = kvm.create_vm().map_err(say("a VM"))?;
        vm.set_tss_address(TSS_ADDRESS).map_err(say("TSS"))?;
        let memory =
            GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), MEMORY_SIZE)]).map_err(text)?;
        for region in memory.iter() {
            let slot = kvm_userspace_memory_region {
                slot: 0,
                flags: 0,
                guest_phys_addr: 0,
                memory_size: region.len(),
                userspace_addr: region.as_ptr() as u64,
            };
            // SAFETY: the `HypercallHost`, which lives as long as the vCPU, keeps the
            // mapping, and it is the only one of this VM.
            unsafe { vm.set_user_memory_region(slot) }.map_err(say("memory"))?;
        }
        let code = code(transport, instruction).ok_or("no trap instruction is known")?;
        memory
            .write_slice(&code, GuestAddress(CODE))
            .map_err(text)?;

        let offered = TransportSet::EMPTY.with(transport);
        let host = HypercallHost::new(&vm, memory, offered).map_err(text)?;
        host.hypercalls()
            .register(ECHO, |call| Ok(call.arg::<0>()))
            .map_err(text)?;
        let mut vcpu = vm.create_vcpu(0).map_err(say("a vCPU"))?;
        start(&vcpu).map_err(say("the vCPU's registers"))?;
        host.prepare(&mut vcpu);
        Ok(Self {
            transport,
            vcpu,
            host,
            stop: AtomicBool::new(false),
            pages: Pages::new()?,
            _vm: vm,
        })
    }

    /// Times of the loops, and how ours compares with the others.
    fn compare(&mut self, limits: Limits) -> Result<Vec<Measurement>, String> {
        let calls = self.calls_in_a_turn()?;
        let times = self.quietest_turns(calls)?;
        let transport = self.transport;
        let [bare, answering, ours, reading, calling] = &times;
        let named = |name: &str| format!("loop/{transport}, {name}");
        let limited = |name: &str, others, limit| {
            median_ratio(named(name), ours, others).map(|median| median.at_most(limit))
        };
        let measurements = [
            limited("ours against one that re-enters", bare, limits.bare),
            limited(
                "ours against one that answers the same",
                answering,
                limits.answering,
            ),
        ];
        let page = |name: &str, touching: &[f64]| {
            let differences = touching.iter().zip(bare);
            let each = differences
                .map(|(touching, bare)| (touching - bare) * 1e3 / pages::COUNT as f64)
                .collect();
            Measurement::median_of(named(name), each, Unit::Nanoseconds)
        };
        let a_page = [
            page("a page of data", reading),
            page("a page of code", calling),
        ];
        let medians = Kind::ALL
            .into_iter()
            .zip(times.clone())
            .map(|(kind, times)| {
                Measurement::median_of(named(kind.name()), times, Meter::Time.unit())
            });
        let all = measurements.into_iter().chain(a_page).chain(medians);
        Ok(all.flatten().collect())
    }

    /// Instructions of a call by the loops, and how many of ours are the library's.
    fn count(&mut self) -> Result<Vec<Measurement>, String> {
        let kinds = [Kind::Bare, Kind::Answering, Kind::Ours];
        let counts = self.take_turns(kinds, Meter::Instructions, ROUNDS_COUNTED, CALLS_COUNTED)?;
        let transport = self.transport;
        let [_, answering, ours] = &counts;
        let added = ours.iter().zip(answering);
        let added = added.map(|(ours, answering)| ours - answering).collect();
        let name = format!("instructions of a call on the host/{transport}, ours above answering");
        let limit = match transport {
            Transport::Port => LIMIT_INSTRUCTIONS_PORT,
            _ => LIMIT_INSTRUCTIONS,
        };
        let added = Measurement::median_of(name, added, Meter::Instructions.unit())
            .map(|median| median.at_most(limit));
        let medians = kinds.into_iter().zip(counts.clone()).map(|(kind, counts)| {
            let name = format!("instructions of everybody/{transport}, {}", kind.name());
            Measurement::median_of(name, counts, Meter::Instructions.unit())
        });
        Ok(added.into_iter().chain(medians.flatten()).collect())
    }

    /// What a call takes by each kind in each round of the pass in which ours came off best.
    fn quietest_turns(&mut self, calls: u32) -> Result<[Vec<f64>; Kind::ALL.len()], String> {
        let ratio = |[bare, _, ours, ..]: &[Vec<f64>; Kind::ALL.len()]| {
            median_ratio(String::new(), ours, bare).map_or(f64::INFINITY, |median| median.value)
        };
        let mut quietest = self.take_turns(Kind::ALL, Meter::Time, ROUNDS, calls)?;
        for _ in 1..PASSES {
            let pass = self.take_turns(Kind::ALL, Meter::Time, ROUNDS, calls)?;
            if ratio(&pass) < ratio(&quietest) {
                quietest = pass;
            }
        }
        Ok(quietest)
    }

    /// What a call takes by each of `kinds` in each of `rounds`; they take turns at being
    /// first.
    fn take_turns<const KINDS: usize>(
        &mut self,
        kinds: [Kind; KINDS],
        meter: Meter,
        rounds: usize,
        calls: u32,
    ) -> Result<[Vec<f64>; KINDS], String> {
        // The first touches what the others then find, whichever their kind.
        self.run(Kind::Ours, meter, FEW_CALLS)?;
        let mut taken = [const { Vec::new() }; KINDS];
        for round in 0..rounds {
            for turn in 0..KINDS {
                let index = (round + turn) % KINDS;
                taken[index].push(self.run(kinds[index], meter, calls)?);
            }
        }
        Ok(taken)
    }

    fn calls_in_a_turn(&mut self) -> Result<u32, String> {
        self.run(Kind::Ours, Meter::Time, FEW_CALLS)?;
        let microseconds = self.run(Kind::Ours, Meter::Time, FEW_CALLS)?;
        Ok(((TURN_MICROSECONDS / microseconds) as u32).clamp(FEW_CALLS, 100_000))
    }

    /// What a call takes, by what the library's documentation shows.
    fn ours(&mut self, meter: Meter, calls: u32) -> Result<f64, String> {
        let before = self.host.counters().calls(self.transport);
        let mut hypercalls = self.host.vcpu_calls(0);
        let vcpu = &mut self.vcpu;
        let stop = &self.stop;
        let taken = meter.measure(|| {
            for _ in 0..calls {
                if stop.load(Ordering::Relaxed) {
                    return Err("stopped".into());
                }
                let exit = vcpu.run().map_err(say("KVM_RUN"))?;
                let transport = hypercalls.recognise(&exit).ok_or("not a call")?;
                match hypercalls.dispatch(vcpu, transport) {
                    Disposition::Resume => {}
                    Disposition::Stop(reason) => return Err(reason.to_string()),
                    Disposition::Wait(pending) => hypercalls.complete(vcpu, pending.wait()),
                }
            }
            Ok(())
        })?;
        let answered = self.host.counters().calls(self.transport) - before;
        if answered != u64::from(calls) {
            return Err(format!("{answered} of {calls} calls were answered"));
        }
        Ok(taken / f64::from(calls))
    }

    /// What a call takes by KVM_RUN alone, with `between` two of them.
    fn raw(
        &mut self,
        meter: Meter,
        calls: u32,
        mut between: impl FnMut(&mut kvm_run, &Pages),
    ) -> Result<f64, String> {
        let reason = self.vcpu.get_kvm_run().exit_reason;
        let taken = meter.measure(|| {
            for _ in 0..calls {
                // SAFETY: the file descriptor is a vCPU's, and KVM_RUN takes no argument.
                if unsafe { ioctl(&self.vcpu, request::KVM_RUN()) } != 0 {
                    return Err(format!("KVM_RUN: {}", std::io::Error::last_os_error()));
                }
                between(self.vcpu.get_kvm_run(), &self.pages);
            }
            Ok(())
        })?;
        if self.vcpu.get_kvm_run().exit_reason != reason {
            return Err("an exit that was no call".into());
        }
        Ok(taken / f64::from(calls))
    }

    /// What a call takes, by a loop of this kind.
    fn run(&mut self, kind: Kind, meter: Meter, calls: u32) -> Result<f64, String> {
        let shared = match kind {
            Kind::Ours | Kind::Answering => KVM_SYNC_X86_REGS.into(),
            Kind::Bare | Kind::Reading | Kind::Calling => 0,
        };
        self.vcpu.get_kvm_run().kvm_valid_regs = shared;
        match (kind, self.transport) {
            (Kind::Ours, _) => self.ours(meter, calls),
            (Kind::Bare, _) => self.raw(meter, calls, |_, _| {}),
            (Kind::Reading, _) => self.raw(meter, calls, |_, pages| pages.read()),
            (Kind::Calling, _) => self.raw(meter, calls, |_, pages| pages.call()),
            (Kind::Answering, Transport::Port) => self.raw(meter, calls, |run, _| {
                run.s.regs.regs.rax = ANSWER;
                run.kvm_dirty_regs = KVM_SYNC_X86_REGS.into();
            }),
            (Kind::Answering, _) => self.raw(meter, calls, |run, _| {
                run.__bindgen_anon_1.xen.u.hcall.result = ANSWER;
            }),
        }
    }
}

/// The median of what `ours` took against what `others` did in the same round.
fn median_ratio(name: String, ours: &[f64], others: &[f64]) -> Option<Measurement> {
    let pairs = ours.iter().zip(others);
    let ratios = pairs.map(|(ours, other)| ours / other).collect();
    Measurement::median_of(name, ratios, Unit::Ratio)
}

/// What an answering loop says to whatever was asked.
const ANSWER: u64 = 1;

/// A loop of a VMM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Does nothing but KVM_RUN.
    Bare,
    /// Has KVM share registers, and puts a constant where the answer belongs.
    Answering,
    /// The library's.
    Ours,
    /// As `Bare`, and reads something of some pages.
    Reading,
    /// As `Bare`, and calls a function in each of some pages.
    Calling,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Bare,
        Self::Answering,
        Self::Ours,
        Self::Reading,
        Self::Calling,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "one that re-enters",
            Self::Answering => "one that answers the same to everything",
            Self::Ours => "ours",
            Self::Reading => "one that reads of pages",
            Self::Calling => "one that calls functions in pages",
        }
    }
}

/// `again: mov eax, ECHO; trap; jmp again`.
fn code(transport: Transport, instruction: Option<TrapInstruction>) -> Option<Vec<u8>> {
    let mut code = MOV_EAX_IMM32.to_vec();
    code.extend(ECHO.get().to_le_bytes());
    match transport {
        Transport::Port => code.extend([OUT_IMM8_EAX[0], OUT_IMM8_EAX[1], PORT]),
        _ => code.extend(instruction?.bytes()),
    }
    let length = code.len() as i8 + 2;
    code.extend([JMP_REL8, (-length) as u8]);
    Some(code)
}

/// 16-bit mode, as after a reset, with the first segment as code.
fn start(vcpu: &VcpuFd) -> Result<(), kvm_ioctls::Error> {
    let mut sregs = vcpu.get_sregs()?;
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    vcpu.set_sregs(&sregs)?;
    vcpu.set_regs(&kvm_regs {
        rip: CODE,
        rflags: 2,
        ..Default::default()
    })
}
