// SPDX-License-Identifier: MIT OR Apache-2.0
//! Building a VM from its configuration, and running it.

#[cfg(feature = "watch")]
use super::config::Watching;
use super::config::{CallSpans, KvmFeatures, TransportChoice, VcpuCount, VmConfig};
use super::controller::Controller;
use super::devices::{Ports, Serial, SERIAL_IRQ};
use super::error::{kvm, system, VmError};
use super::gate::Gate;
use super::loader::{self, Guest};
use super::memory;
use super::topology;
use super::vcpu::{End, Vcpu};
use super::vcpu_threads::VcpuThreads;
use crate::confinement::Confinement;
use crate::core_calls::CoreServices;
use crate::cpuid;
use crate::host::HypercallHost;
use crate::interrupts::KvmInterrupts;
use crate::probe::{probe, Verdict};
use crate::ring::KvmWiring;
use crate::stats::Counters;
use crate::table::HypercallTable;
use hcall_abi::{Transport, TransportSet};
use kvm_bindings::{
    kvm_pit_config, CpuId, KVM_API_VERSION, KVM_MAX_CPUID_ENTRIES, KVM_PIT_SPEAKER_DUMMY,
};
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

/// Where KVM may keep three pages of its own on Intel processors (KVM_SET_TSS_ADDR), and
/// one before them (KVM_SET_IDENTITY_MAP_ADDR): in the hole under 4 GiB.
const TSS_ADDRESS: usize = 0xfffb_d000;
const IDENTITY_MAP_ADDRESS: u64 = 0xfffb_c000;

/// Inputs of the interrupt controllers that no device drives: rings may have them.
const RING_IRQS: [u32; 10] = [5, 9, 10, 11, 16, 17, 18, 19, 20, 21];

/// How long the probe may try each transport.
const PROBE_DEADLINE: Duration = Duration::from_millis(250);

/// A virtual machine, built and not yet running.
#[derive(Debug)]
pub struct Vm {
    /// The first is the one that boots; the guest starts the others.
    vcpus: Vec<Vcpu>,
    host: Arc<HypercallHost>,
    serial: Serial,
    gate: Arc<Gate>,
    confinement: Confinement,
    /// Kept for the interrupt controllers and memory slots, which live as long as it.
    _vm: Arc<VmFd>,
}

impl Vm {
    /// Builds the VM that `config` describes, with the core calls registered.
    ///
    /// # Errors
    ///
    /// [`VmError`]; its text says what to do.
    pub fn new(config: VmConfig) -> Result<Self, VmError> {
        // The guest comes first: a wrong file is said whether or not there is a KVM.
        let guest_memory = memory::map(config.memory)?;
        let guest = Guest {
            kernel: &config.kernel,
            initrd: config.initrd.as_deref(),
            command_line: &config.command_line,
            vcpus: config.vcpus,
        };
        let entry = loader::load(&guest_memory, guest)?;

        let kvm_device = open_kvm(&config.kvm)?;
        let offered = offered_transports(&kvm_device, config.transport)?;
        let vm = kvm_device.create_vm().map_err(kvm("create a VM"))?;
        // SAFETY: the `HypercallHost` keeps a clone of the mapping, and the vCPU keeps
        // the host.
        unsafe { memory::register(&vm, &guest_memory)? };
        let serial = create_platform(&vm, &config)?;

        let vm = Arc::new(vm);
        let gate = Arc::new(Gate::new());
        let confinement = config.confinement();
        let host = observed(
            HypercallHost::new(&vm, guest_memory.clone(), offered)?,
            &config,
        );
        let ending = Arc::clone(&gate);
        let host = host
            .with_callers(config.callers)
            .with_interrupts(KvmInterrupts::new(Arc::clone(&vm)))
            .with_panic_policy(config.on_panic)
            .with_stop_listener(move |reason| ending.stop_with(reason.into()))
            .with_confinement(confinement.clone())
            .with_rings(
                guest_memory,
                KvmWiring::new(Arc::clone(&vm), RING_IRQS),
                config.rings,
            );
        let fds = create_vcpus(&kvm_device, &vm, config.vcpus)?;
        let host = Arc::new(host.with_core_calls(CoreServices {
            console: Box::new(config.console),
            tsc_khz: fds.first().and_then(|vcpu| vcpu.get_tsc_khz().ok()),
            memory_bytes: config.memory.bytes(),
            vcpu_count: config.vcpus.get().into(),
        }));
        let cpuid = common_cpuid(&kvm_device, &host, config.cpuid_vendor, config.kvm_features)?;
        let ports = Arc::new(Ports::new(serial.clone(), config.debug_exit));
        let mut vcpus = Vec::new();
        for (id, fd) in (0..).zip(fds) {
            let mut cpuid = cpuid.clone();
            topology::describe(&mut cpuid, id, config.vcpus)?;
            let (host, ports, gate) = (Arc::clone(&host), Arc::clone(&ports), Arc::clone(&gate));
            vcpus.push(Vcpu::new(id, fd, &cpuid, host, ports, gate)?);
        }
        if let Some(boot) = vcpus.first() {
            boot.start_at(entry)?;
        }
        Ok(Self {
            vcpus,
            host,
            serial,
            gate,
            confinement,
            _vm: vm,
        })
    }

    /// The handlers, the core calls among them.
    pub fn hypercalls(&self) -> &HypercallTable {
        self.host.hypercalls()
    }

    /// All of the hypercalls' host, to register and remove handlers while the VM runs.
    pub fn hypercall_host(&self) -> Arc<HypercallHost> {
        Arc::clone(&self.host)
    }

    /// The counters; they can be read while the VM runs and after.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(self.host.counters())
    }

    /// The transports that the guest is offered.
    pub fn transports(&self) -> TransportSet {
        self.host.advertisement().transports
    }

    /// What ends the VM, and types into its console, from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper {
            gate: Arc::clone(&self.gate),
            serial: self.serial.clone(),
        }
    }

    /// What pauses, resumes and ends the VM from another thread.
    pub fn controller(&self) -> Controller {
        Controller::new(Arc::clone(&self.gate), Arc::clone(&self.host))
    }

    /// Runs the VM until it ends: each vCPU on a thread of its own, the first end that one
    /// of them meets being the VM's.
    ///
    /// # Errors
    ///
    /// [`VmError`] if KVM fails.
    pub fn run(self) -> Result<End, VmError> {
        self.start()?.wait()
    }

    /// Starts the VM, each vCPU on a thread of its own, and returns: for who has something to
    /// do before waiting.
    ///
    /// # Errors
    ///
    /// [`VmError`] if a thread cannot be started.
    pub fn start(self) -> Result<RunningVm, VmError> {
        let threads = VcpuThreads::start(self.vcpus, self.gate, &self.confinement)?;
        Ok(RunningVm {
            threads,
            host: self.host,
            _vm: self._vm,
        })
    }
}

/// A VM whose vCPUs run. It ends when this is dropped.
#[derive(Debug)]
pub struct RunningVm {
    threads: VcpuThreads,
    host: Arc<HypercallHost>,
    _vm: Arc<VmFd>,
}

impl RunningVm {
    /// Waits until the VM ends: by the first end that one of the vCPUs meets.
    ///
    /// # Errors
    ///
    /// [`VmError`] if KVM fails.
    pub fn wait(self) -> Result<End, VmError> {
        let outcome = self.threads.wait();
        // No vCPU runs any more that could set up another.
        self.host.close_rings();
        outcome
    }
}

/// The host, with its calls observed as `config` says.
fn observed(host: HypercallHost, config: &VmConfig) -> HypercallHost {
    #[cfg(feature = "watch")]
    let host = match config.watching {
        Watching::Off => host,
        Watching::On => host.with_watching(),
    };
    match config.call_spans {
        CallSpans::Off => host,
        CallSpans::On => host.with_call_spans(),
    }
}

/// Ends a running VM, and types into its console, from another thread.
#[derive(Clone, Debug)]
pub struct Stopper {
    gate: Arc<Gate>,
    serial: Serial,
}

impl Stopper {
    /// Asks the VM to end; [`Vm::run`] then returns [`End::Stopped`].
    pub fn stop(&self) {
        self.gate.stop();
    }

    /// Gives the guest as much of `input` as its UART takes at once; returns how much.
    pub fn type_into_console(&self, input: &[u8]) -> usize {
        self.serial.receive(input)
    }
}

/// Opens KVM, or says why not.
pub(crate) fn open_kvm(path: &Path) -> Result<Kvm, VmError> {
    let refused = |source: std::io::Error| VmError::OpenKvm {
        path: path.into(),
        hint: match source.kind() {
            std::io::ErrorKind::NotFound => {
                "this machine has no KVM, or its module (kvm_amd, kvm_intel) is not loaded"
            }
            std::io::ErrorKind::PermissionDenied => {
                "you may not use it; join the group that owns it, often 'kvm', or be root"
            }
            _ => "KVM is not usable",
        },
        source,
    };
    let c_path = CString::new(path.as_os_str().as_bytes())
        .map_err(|error| refused(std::io::Error::other(error)))?;
    let device = Kvm::new_with_path(c_path).map_err(|error| refused(error.into()))?;
    let version = device.get_api_version();
    if u32::try_from(version) != Ok(KVM_API_VERSION) {
        return Err(VmError::NotKvm {
            path: path.into(),
            version,
        });
    }
    if !device.check_extension(Cap::SyncRegs) {
        return Err(VmError::MissingCapability("KVM_CAP_SYNC_REGS (Linux 4.17)"));
    }
    Ok(device)
}

fn create_vcpus(kvm_device: &Kvm, vm: &VmFd, count: VcpuCount) -> Result<Vec<VcpuFd>, VmError> {
    let limit = kvm_device.get_max_vcpus();
    if usize::from(count.get()) > limit {
        return Err(VmError::TooManyVcpus {
            wanted: count,
            limit,
        });
    }
    (0..u64::from(count.get()))
        .map(|id| vm.create_vcpu(id).map_err(kvm("create a vCPU")))
        .collect()
}

/// The CPUID that all vCPUs have in common: KVM's, with hcall's block.
fn common_cpuid(
    kvm_device: &Kvm,
    host: &HypercallHost,
    vendor: Option<[u8; 12]>,
    features: KvmFeatures,
) -> Result<CpuId, VmError> {
    let supported = kvm_device
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(kvm("say which CPUID it supports"))?;
    let mut cpuid = supported.clone();
    host.advertise(&mut cpuid)?;
    if features == KvmFeatures::All {
        cpuid::show_kvm_features_of(&supported, &mut cpuid);
    }
    if let Some(vendor) = vendor {
        cpuid::show_vendor(&mut cpuid, vendor);
    }
    Ok(cpuid)
}

fn offered_transports(kvm: &Kvm, choice: TransportChoice) -> Result<TransportSet, VmError> {
    if let TransportChoice::Unprobed(transports) = choice {
        return Ok(transports);
    }
    let report = probe(kvm, PROBE_DEADLINE);
    match choice {
        TransportChoice::Only(wanted) => {
            let verdict = report.transports.iter().find(|(tried, _)| *tried == wanted);
            match verdict {
                Some((_, Verdict::Works(_))) => Ok(TransportSet::EMPTY.with(wanted)),
                Some((_, Verdict::Fails(reason))) => Err(does_not_work(wanted, reason.clone())),
                None => Err(does_not_work(
                    wanted,
                    "this VMM does not implement it".into(),
                )),
            }
        }
        _ if report.working().is_empty() => Err(VmError::NoTransport(Box::new(report))),
        _ => Ok(report.working()),
    }
}

fn does_not_work(transport: Transport, reason: String) -> VmError {
    VmError::TransportDoesNotWork { transport, reason }
}

/// Interrupt controllers and timer in KVM, and the UART's interrupt.
fn create_platform(vm: &VmFd, config: &VmConfig) -> Result<Serial, VmError> {
    vm.set_tss_address(TSS_ADDRESS)
        .map_err(kvm("set the TSS address"))?;
    vm.set_identity_map_address(IDENTITY_MAP_ADDRESS)
        .map_err(kvm("set the identity map's address"))?;
    vm.create_irq_chip()
        .map_err(kvm("create interrupt controllers"))?;
    let pit = kvm_pit_config {
        flags: KVM_PIT_SPEAKER_DUMMY,
        ..Default::default()
    };
    vm.create_pit2(pit).map_err(kvm("create a timer"))?;
    let interrupt = EventFd::new(EFD_NONBLOCK).map_err(system("create an eventfd"))?;
    vm.register_irqfd(&interrupt, SERIAL_IRQ)
        .map_err(kvm("connect the serial interrupt"))?;
    Ok(Serial::new(interrupt, config.console.clone()))
}
