// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be said on the command line.

use super::ctl::CtlArguments;
use crate::extend::{Assignment, Installer};
use crate::vmm::{DebugExit, MemorySize, TransportChoice, VcpuCount, Watching};
use crate::PanicPolicy;
use clap::{Args, Parser, Subcommand, ValueEnum};
use hcall_abi::Transport;
use std::path::PathBuf;
use std::time::Duration;

const EXIT_STATUS: &str = "\
Exit status: the guest's own; 0 also when it reset the machine or halted, or `hcall-vmm ctl` ended \
it; 2 when the command line is wrong; 125 when there was no VM to run; 126 when the guest called \
PANIC, shut down, or KVM ended it, and when --end-on-panic did; 128 + N when signal N ended the VM.";

/// Boots unikernels and Linux, and answers their hypercalls.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100, after_help = EXIT_STATUS)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,

    /// Say more on standard error; repeat for still more
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(super) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Boot a guest: an ELF unikernel with a PVH note, a Multiboot image, a vmlinux, or a bzImage
    Run(RunArguments),
    /// Say what this machine's KVM can do, by doing it in a throw-away VM
    Probe(ProbeArguments),
    /// Ask something of a running VM, by its control socket
    Ctl(CtlArguments),
}

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// The guest's image
    pub(super) kernel: PathBuf,

    /// Initramfs for Linux, or the module of a Multiboot image
    #[arg(long, value_name = "FILE")]
    pub(super) initrd: Option<PathBuf>,

    /// Command line for the guest
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        allow_hyphen_values = true
    )]
    pub(super) append: String,

    /// Guest memory in MiB, or with M, G or T
    #[arg(short, long, value_name = "SIZE", default_value_t = MemorySize::DEFAULT)]
    pub(super) memory: MemorySize,

    /// Number of vCPUs, 1 to 64
    #[arg(long, value_name = "N", default_value_t = VcpuCount::ONE)]
    pub(super) vcpus: VcpuCount,

    /// End when the guest writes to port 0xf4, with the status VALUE * 2 + 1
    #[arg(long)]
    debug_exit: bool,

    /// How hypercalls reach the VMM
    #[arg(long, value_enum, default_value_t)]
    pub(super) transport: TransportArgument,

    /// A shared object whose handlers answer the numbers that it has; may be repeated
    #[arg(long = "plugin", value_name = "FILE")]
    pub(super) plugins: Vec<PathBuf>,

    /// Who answers a number: unix:SOCKET (a process that listens there), plugin:FILE, value:N or
    /// errno:NAME; may be repeated
    #[arg(long = "handler", value_name = "NUMBER=SOURCE")]
    pub(super) handlers: Vec<Assignment>,

    /// How long a handler's process may take for a call, in milliseconds; the guest then gets
    /// an error
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    handler_timeout: u64,

    /// Print the VM's counters to standard error when it has ended, and a table of the calls of
    /// each number
    #[arg(long)]
    pub(super) stats: bool,

    /// Listen for `hcall-vmm ctl` on this Unix socket, which is made for the user alone
    #[arg(long, value_name = "SOCKET")]
    pub(super) control: Option<PathBuf>,

    /// Do not count and time the calls of each number, which --stats and --control turn on
    #[arg(long)]
    no_watch: bool,

    /// End the VM when a handler panics, rather than fail the one call
    #[arg(long)]
    end_on_panic: bool,

    /// Run with all of the user's rights to files, sockets and system calls, to debug
    #[arg(long)]
    pub(super) no_sandbox: bool,

    /// The KVM device
    #[arg(long, value_name = "PATH", default_value = "/dev/kvm")]
    pub(super) kvm: PathBuf,
}

impl RunArguments {
    /// What puts handlers into the table.
    pub(super) fn installer(&self) -> Installer {
        Installer::default().with_time_limit(Duration::from_millis(self.handler_timeout))
    }

    pub(super) fn debug_exit(&self) -> DebugExit {
        if self.debug_exit {
            DebugExit::Present
        } else {
            DebugExit::Absent
        }
    }

    pub(super) fn watching(&self) -> Watching {
        let has_reader = self.stats || self.control.is_some();
        if has_reader && !self.no_watch {
            Watching::On
        } else {
            Watching::Off
        }
    }

    pub(super) fn on_panic(&self) -> PanicPolicy {
        if self.end_on_panic {
            PanicPolicy::EndVm
        } else {
            PanicPolicy::Answer
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct ProbeArguments {
    /// The KVM device
    #[arg(long, value_name = "PATH", default_value = "/dev/kvm")]
    pub(super) kvm: PathBuf,

    /// How long each transport is tried, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    deadline: u64,
}

impl ProbeArguments {
    pub(super) fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline)
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum TransportArgument {
    /// Those that work here, as `probe` finds them
    #[default]
    Auto,
    /// VMMCALL or VMCALL only
    Instruction,
    /// VMMCALL or VMCALL in the shape of a hypercall that KVM hands over, only
    Carrier,
    /// Port I/O only
    Port,
}

impl From<TransportArgument> for TransportChoice {
    fn from(argument: TransportArgument) -> Self {
        match argument {
            TransportArgument::Auto => Self::Working,
            TransportArgument::Instruction => Self::Only(Transport::Instruction),
            TransportArgument::Carrier => Self::Only(Transport::Carrier),
            TransportArgument::Port => Self::Only(Transport::Port),
        }
    }
}
