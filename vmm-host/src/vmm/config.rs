// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a VM is to be.

use crate::confinement::Confinement;
use crate::dispatch::PanicPolicy;
use crate::ring::RingConfig;
use crate::table::Callers;
use hcall_abi::{Transport, TransportSet};
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

/// Everything that [`Vm::new`](super::Vm::new) needs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VmConfig {
    /// The KVM device.
    pub kvm: PathBuf,
    /// ELF with a PVH note, bzImage, or a Multiboot image.
    pub kernel: PathBuf,
    /// Initramfs for Linux, or the module of a Multiboot image.
    pub initrd: Option<PathBuf>,
    /// Command line for the guest.
    pub command_line: String,
    /// Guest memory.
    pub memory: MemorySize,
    /// How many vCPUs.
    pub vcpus: VcpuCount,
    /// Which transports the guest is offered.
    pub transport: TransportChoice,
    /// Who may make the calls whose handlers do not say so themselves.
    pub callers: Callers,
    /// The processor's vendor in CPUID leaf 0, where it is to be another than KVM's.
    ///
    /// For tests of guests: the transports are tried with the instruction of the real
    /// vendor, and a guest that believes this one executes the other, which raises #UD.
    pub cpuid_vendor: Option<[u8; 12]>,
    /// How many rings the guest may set up, how large, and how long their threads poll.
    pub rings: RingConfig,
    /// Which of KVM's paravirtual features the guest is shown. For tests and experts.
    pub kvm_features: KvmFeatures,
    /// What the panic of a handler does besides that its call fails.
    pub on_panic: PanicPolicy,
    /// Whether the calls of each number are counted and timed.
    #[cfg(feature = "watch")]
    pub watching: Watching,
    /// Whether each call is a span of `tracing`.
    pub call_spans: CallSpans,
    /// Where the serial port and `CONSOLE_WRITE` go.
    pub console: Console,
    /// Whether a write to a port ends the VM.
    pub debug_exit: DebugExit,
    /// What confines the VM's threads: each of them, but not who builds and runs the VM. See
    /// [`sandbox`](crate::sandbox).
    #[cfg(feature = "sandbox")]
    pub sandbox: Option<crate::sandbox::Sandbox>,
}

impl VmConfig {
    /// A VM with `kernel` and otherwise defaults: /dev/kvm, no initramfs, an empty command
    /// line, 256 MiB, one vCPU, the transports that work here, calls from CPL 0 only, the
    /// vendor that KVM shows, those of KVM's features that work, a VM that goes on when a
    /// handler panics, nothing watched, the console on standard output, no debug-exit port, no
    /// sandbox.
    pub fn new(kernel: impl Into<PathBuf>) -> Self {
        Self {
            kvm: "/dev/kvm".into(),
            kernel: kernel.into(),
            initrd: None,
            command_line: String::new(),
            memory: MemorySize::DEFAULT,
            vcpus: VcpuCount::ONE,
            transport: TransportChoice::Working,
            callers: Callers::default(),
            cpuid_vendor: None,
            rings: RingConfig::default(),
            kvm_features: KvmFeatures::default(),
            on_panic: PanicPolicy::default(),
            #[cfg(feature = "watch")]
            watching: Watching::default(),
            call_spans: CallSpans::default(),
            console: Console::new(std::io::stdout()),
            debug_exit: DebugExit::Absent,
            #[cfg(feature = "sandbox")]
            sandbox: None,
        }
    }
}

impl VmConfig {
    /// The sandbox as the VM's threads know it.
    pub(super) fn confinement(&self) -> Confinement {
        #[cfg(feature = "sandbox")]
        return self.sandbox.clone().into();
        #[cfg(not(feature = "sandbox"))]
        Confinement::default()
    }
}

/// Which transports the guest is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportChoice {
    /// Those that [`probe`](crate::probe::probe) sees working on this machine.
    Working,
    /// This one only. If it does not work here, there is no VM.
    Only(Transport),
    /// These, unprobed.
    Unprobed(TransportSet),
}

/// Which of KVM's paravirtual features the guest is shown in CPUID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KvmFeatures {
    /// Those that work beside the transports that are offered, as
    /// [`cpuid::advertise`](crate::cpuid::advertise) leaves them.
    #[default]
    Working,
    /// All that KVM supports.
    ///
    /// For tests and for experts. With [`Transport::Instruction`] a Linux guest with
    /// several vCPUs then does not reach its init: it interrupts several CPUs at once by
    /// KVM_HC_SEND_IPI, and wakes one that waits for a lock by KVM_HC_KICK_CPU; both reach
    /// the VMM in KVM's place and are refused, and the guest waits for ever, often before
    /// it can say so.
    All,
}

/// Whether the calls of each number are counted and timed: see [`watch`](crate::watch).
#[cfg(feature = "watch")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watching {
    /// They are not, and cost nothing.
    #[default]
    Off,
    /// They are.
    On,
}

/// Whether each call is a span of `tracing`, at level TRACE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallSpans {
    /// It is not, and costs nothing.
    #[default]
    Off,
    /// It is.
    On,
}

/// Whether the VM has the port by which test images end, 0xf4: a write of *value*, of any
/// size, ends it with the status *value* · 2 + 1, of which a process has the low 8 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DebugExit {
    /// It has none.
    #[default]
    Absent,
    /// It has it.
    Present,
}

/// A size of guest memory in bytes: whole MiB, from [`MemorySize::MIN`] to
/// [`MemorySize::MAX`].
///
/// # Examples
///
/// ```
/// use hcall_vmm::vmm::MemorySize;
/// assert_eq!("1G".parse::<MemorySize>().unwrap().bytes(), 1 << 30);
/// assert!("0".parse::<MemorySize>().is_err());
/// assert!("1P".parse::<MemorySize>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemorySize(u64);

const MIB: u64 = 1 << 20;

impl MemorySize {
    /// What a VM has if nothing is said: 256 MiB.
    pub const DEFAULT: Self = Self(256 * MIB);
    /// The least: 2 MiB, of which the first holds the boot structures.
    pub const MIN: Self = Self(2 * MIB);
    /// The most: 1 TiB.
    pub const MAX: Self = Self(MIB << 20);

    /// The size of `mebibytes` MiB.
    ///
    /// # Errors
    ///
    /// [`MemorySizeError`] if it is out of range.
    pub fn from_mebibytes(mebibytes: u64) -> Result<Self, MemorySizeError> {
        let size = mebibytes.checked_mul(MIB).map(Self);
        match size {
            Some(size) if (Self::MIN..=Self::MAX).contains(&size) => Ok(size),
            _ => Err(MemorySizeError::OutOfRange),
        }
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// Why a size of memory is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemorySizeError {
    /// Not a number with an optional unit.
    #[error("not a size: give a number of MiB, or a number with M, G or T, such as 512M")]
    Syntax,
    /// Below [`MemorySize::MIN`] or above [`MemorySize::MAX`].
    #[error("out of range: guest memory is from 2M to 1T")]
    OutOfRange,
}

impl FromStr for MemorySize {
    type Err = MemorySizeError;

    fn from_str(text: &str) -> Result<Self, MemorySizeError> {
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let mebibytes_per_unit = match &text[digits.len()..].to_ascii_uppercase()[..] {
            "" | "M" => 1,
            "G" => 1 << 10,
            "T" => 1 << 20,
            "P" => 1 << 30,
            _ => return Err(MemorySizeError::Syntax),
        };
        let count: u64 = digits.parse().map_err(|_| MemorySizeError::Syntax)?;
        let mebibytes = count
            .checked_mul(mebibytes_per_unit)
            .ok_or(MemorySizeError::OutOfRange)?;
        Self::from_mebibytes(mebibytes)
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}M", self.0 / MIB)
    }
}

/// A number of vCPUs, from 1 to [`VcpuCount::MAX`]. KVM's own limit may be lower.
///
/// # Examples
///
/// ```
/// use hcall_vmm::vmm::VcpuCount;
/// assert_eq!("4".parse::<VcpuCount>().unwrap().get(), 4);
/// assert!("0".parse::<VcpuCount>().is_err());
/// assert!("65".parse::<VcpuCount>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VcpuCount(u8);

impl VcpuCount {
    /// What a VM has if nothing is said.
    pub const ONE: Self = Self(1);
    /// The most: as many as the guest's tables are laid out for.
    pub const MAX: Self = Self(64);

    /// As many as `count`.
    ///
    /// # Errors
    ///
    /// [`VcpuCountError`] if it is out of range.
    pub fn new(count: u8) -> Result<Self, VcpuCountError> {
        if (Self::ONE.0..=Self::MAX.0).contains(&count) {
            Ok(Self(count))
        } else {
            Err(VcpuCountError)
        }
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// A number of vCPUs that no VM can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a number of vCPUs: give one from 1 to 64")]
pub struct VcpuCountError;

impl FromStr for VcpuCount {
    type Err = VcpuCountError;

    fn from_str(text: &str) -> Result<Self, VcpuCountError> {
        Self::new(text.parse().map_err(|_| VcpuCountError)?)
    }
}

impl fmt::Display for VcpuCount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A sink shared by everything of a VM that prints.
#[derive(Clone)]
pub struct Console(Arc<Mutex<dyn Write + Send>>);

impl Console {
    /// A console that goes to `sink`.
    pub fn new(sink: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(sink)))
    }
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sink.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sink.flush()
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Console").finish_non_exhaustive()
    }
}
